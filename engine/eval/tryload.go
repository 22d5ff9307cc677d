package eval

import (
	"context"
	"errors"
	"slices"
	"strings"

	"patrol/engine"
)

// TryLoad loads packs in a sandbox first, where one of them is not trusted: a
// pack that cannot be read within the bounds of a sandbox is refused before
// Load reads it here. What else is wrong with packs is for Load to tell.
func TryLoad(ctx context.Context, sandbox Sandbox, packs ...Pack) error {
	if sandbox == nil || !slices.ContainsFunc(packs, func(p Pack) bool { return !p.Trusted }) {
		return nil
	}
	var problems Problems
	all := readPacks(packs, &problems)
	if problems.err() != nil {
		return nil
	}
	c, err := startChild(sandbox(), standardDeadline)
	if err != nil {
		return err
	}
	defer c.kill()
	c.tellIt(request{Packs: all.wired()})
	_, err = c.next(ctx, loadDeadline, "")
	var end *sandboxEnd
	if !errors.As(err, &end) {
		return err
	}
	return &engine.Error{
		Class: engine.ClassUsage, Reason: "policy", Op: "load policies of", Target: strings.Join(untrusted(packs), ", "),
		Hint: "Loading must end within 30 s and 1 GiB of memory: leave the packs out one by one to find the one that does not.",
		Err:  err,
	}
}

func untrusted(packs []Pack) []string {
	var names []string
	for _, p := range packs {
		if !p.Trusted {
			names = append(names, p.Name)
		}
	}
	return names
}
