package collectors

import (
	"context"

	"github.com/databricks/databricks-sdk-go/config"

	"patrol/engine"
)

// Check finds what is wrong with the configuration of targets, without sending
// anything: who reads several workspaces learns of a misspelt profile before
// the first of them is read. It gives an *engine.Error of ClassUsage.
func Check(ctx context.Context, targets []Target, o Options) error {
	silenceSDK()
	for _, t := range targets {
		if t.Unreadable != "" {
			continue // nobody will ask it
		}
		if problem := check(ctx, t, o.withDefaults()); problem != nil {
			if known, ok := engine.AsError(problem.error(t.Label())); ok && known.Class == engine.ClassUsage {
				return known
			}
		}
	}
	return nil
}

// check resolves a target as signing in does, but asks the host for nothing.
func check(ctx context.Context, t Target, o Options) *Problem {
	s := &signer{target: t, o: o, session: &session{}}
	s.cfg = &config.Config{Profile: t.Profile, Host: t.knownHost(), ConfigFile: t.ConfigFile, Loaders: loaders(t)}
	s.cfg.HostMetadataResolver = func(_ context.Context, host string) (*config.HostMetadata, error) {
		s.problem = s.connect(host)
		return nil, nil
	}
	return s.resolve(ctx)
}
