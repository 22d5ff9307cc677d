package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"patrol/cmd/internal/config"
	"patrol/engine"
	"patrol/engine/outfile"

	"github.com/spf13/cobra"
)

type initOptions struct {
	profiles []string
	account  string
	failOn   engine.Threshold
	force    bool
}

// Init writes a first patrol.yaml.
func (c commands) Init() *cobra.Command {
	o := initOptions{failOn: engine.FailOn(engine.Low)}
	cmd := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a first patrol.yaml: from profiles of .databrickscfg, or an account",
		Long: "Writes a commented patrol.yaml that `patrol config validate` accepts. On a terminal it asks for what no flag says. A file that\n" +
			"is there stays, unless --force is given.",
		Example: "  patrol init\n  patrol init --profile prod,dev --fail-on high\n  patrol init --account account ci/patrol.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.app.init(cmd.Context(), strings.Join(append(args, "patrol.yaml")[:1], ""), &o, knownFlags(cmd.Root()))
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.profiles, "profile", nil, "audit the workspaces of these `profiles` of .databrickscfg")
	flags.StringVar(&o.account, "account", "", "audit all workspaces of the account of this `profile`")
	flags.Var(thresholdFlag(&o.failOn), "fail-on", "an audit exits with 1 on findings of this severity or worse")
	ofWords(flags, "fail-on", append(severityWords(), "none")...)
	flags.BoolVar(&o.force, "force", false, "replace the file where there is one")
	standAlone(cmd) // a file that cannot be read is what --force replaces
	return cmd
}

func (a *app) init(ctx context.Context, path string, o *initOptions, known config.Flags) error {
	if _, err := os.Lstat(path); err == nil && !o.force {
		return engine.UsageError("write", path, "Edit it and check it by `patrol config validate`, or replace it with --force.", errors.New("exists already"))
	}
	if len(o.profiles) > 0 && o.account != "" {
		return engine.UsageError("read flags", "--account and --profile", "Use one of them.", errors.New("cannot be combined"))
	}
	there := a.profileNames(nil, nil)
	if len(o.profiles) == 0 && o.account == "" {
		if !a.env.interactive() {
			return engine.UsageError("write", path, "Give --profile or --account; .databrickscfg has: "+engine.FewWords(there, 10)+".", errors.New("nothing says which workspaces to audit"))
		}
		fmt.Fprintf(a.env.stderr, "Profiles of .databrickscfg: %s\n", engine.SafeText(strings.Join(there, ", ")))
		answer, err := a.ask(ctx, "Which workspaces? Profiles with commas between, or account:PROFILE for all of an account: ")
		if err != nil {
			return err
		}
		if profile, all := strings.CutPrefix(answer, "account:"); all {
			o.account = strings.TrimSpace(profile)
		} else {
			for name := range strings.SplitSeq(answer, ",") {
				if name = strings.TrimSpace(name); name != "" {
					o.profiles = append(o.profiles, name)
				}
			}
		}
		if answer, err = a.ask(ctx, "Fail an audit from which severity on (critical, high, medium, low, none) [low]: "); err != nil {
			return err
		}
		if answer != "" {
			if o.failOn, err = engine.ParseThreshold(answer); err != nil {
				return engine.UsageError("read answer", answer, "Give a severity.", err)
			}
		}
	}
	for _, name := range slices.DeleteFunc(append(slices.Clone(o.profiles), o.account), func(name string) bool { return name == "" }) {
		if !slices.Contains(there, name) {
			return engine.UsageError("find profile", name, "Make it by `databricks auth login --profile NAME`, or name another.", fmt.Errorf(".databrickscfg has no such profile: %s", engine.DidYouMean(name, there)))
		}
	}
	if len(o.profiles) == 0 && o.account == "" {
		return engine.UsageError("write", path, "Name at least one profile.", errors.New("nothing says which workspaces to audit"))
	}
	quoted := func(text string) string { return string(engine.CompactJSON(text)) }
	var which strings.Builder
	if o.account != "" {
		fmt.Fprintf(&which, "# All workspaces of this account. Narrow them by names, ids, tags or status.\naccount:\n  profile: %s\n#  exclude: {names: [\"sandbox-*\"]}\n#  labels: {env: \"tag:env\"}\n", quoted(o.account))
	} else {
		which.WriteString("# Workspaces to read, each by a profile of .databrickscfg. Labels are yours to choose; overrides match them.\nworkspaces:\n")
		for _, name := range o.profiles {
			fmt.Fprintf(&which, "  - name: %s\n    profile: %s\n#    labels: {env: prod}\n", quoted(name), quoted(name))
		}
	}
	text := strings.NewReplacer("WORKSPACES", which.String(), "FAIL_ON", o.failOn.String()).Replace(firstConfig)
	if err := outfile.Write(path, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
		return err
	}
	if _, err := config.Load(path, true, known); err != nil {
		return err
	}
	a.say("%s written. Next: `patrol doctor`, then `patrol audit`.", path)
	return nil
}

// firstConfig is the file, with what may be wanted later behind a # without a space.
const firstConfig = `# yaml-language-server: $schema=patrol.schema.json
# What patrol reads without flags. Any flag can stand here under its name. A line that begins with # and no space is an example: take the # away.
# Check it by: patrol config validate. See what is in force by: patrol config show.
# For an editor: patrol schema config > patrol.schema.json

WORKSPACES
# An audit exits with 1 on findings of this severity or worse.
fail-on: FAIL_ON

# What it writes, and where; {date} in output-dir is the day.
format: [csv, xlsx, json, html]
output-dir: patrol-report
#keep: 90

# Policies: patrol policies list names them, patrol policies show ID their parameters.
#policies:
#  PAT-002: {params: {max_lifetime_days: 30}}
#  PAT-020: {severity: info}
#  WS-004: {enabled: false}

# Where something else is right.
#overrides:
#  - match: {labels: {env: dev}}
#    policies:
#      PAT-024: {enabled: false}

# What a plan may change at most.
#remediation:
#  grace: 7d
#  contact: platform@example.com
#  limits: {max_steps: 25, max_percent: 10, max_per_owner: 10}
`
