package eval

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/version"

	"patrol/engine"
	"patrol/engine/eval/sandbox"
)

// Set is a set of policies that can be run. It is safe for concurrent use.
type Set struct {
	policies []*policy       // by severity, then id
	waivers  []*policy       // those over waivers, in the same order
	ids      map[string]bool // of all policies loaded, those that Select left out included
	sources  sources
	options  Options
	digest   string
	waiting  *sandbox.Pool // of a set that is kept
	filters  *filters
}

// Options change how policies are run, never what they find.
type Options struct {
	// Deadline bounds the evaluation of one policy on one resource; 0 means 5 s.
	Deadline time.Duration
	// Workers is the number of goroutines; 0 means GOMAXPROCS.
	Workers int
	// Sandbox runs the policies of packs that are not trusted in a process of
	// its own; nil runs them in this one.
	Sandbox sandbox.Command
	// NoPrefilter runs every policy on every token.
	NoPrefilter bool
	// Plain switches rule indexing and early exit off, for tests that compare
	// the results with and without them.
	Plain bool
}

const standardDeadline = 5 * time.Second

func (s *Set) deadline() time.Duration { return cmp.Or(s.options.Deadline, standardDeadline) }

// Load reads packs, in the order given, and checks them. The error tells all
// that is wrong, each with its place: its cause is of type Problems.
func Load(ctx context.Context, packs ...Pack) (*Set, error) {
	var problems Problems
	all := readPacks(packs, &problems)
	all.parse(librarySource, &problems)
	all.parse(policySource, &problems)
	if err := problems.err(); err != nil {
		return nil, err
	}
	all.checkPackages(&problems)
	if err := problems.err(); err != nil {
		return nil, err
	}
	policies, err := all.compileAll(ctx, &problems)
	if err != nil {
		return nil, err
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	return newSet(all, policies), nil
}

func (s sources) compileAll(ctx context.Context, problems *Problems) ([]*policy, error) {
	var policies []*policy
	for _, file := range s.of(policySource) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("load policies: %w", err)
		}
		if p := s.compile(file, readMetadata(file, problems), problems); p != nil {
			policies = append(policies, p)
		}
	}
	checkIDs(policies, problems)
	s.checkUnusedLibrary(problems)
	return policies, nil
}

// checkIDs refuses two policies of one id, and an id or alias of another pack's
// policy, in any letter case: waivers, baselines and configuration go by them.
func checkIDs(policies []*policy, problems *Problems) {
	ids, names := map[string]*policy{}, map[string]*policy{}
	for _, p := range policies {
		for i, name := range append([]string{p.ID}, p.Aliases...) {
			key := strings.ToLower(name)
			other := ids[key]
			if known := names[key]; other == nil && known != nil && (i == 0 || known.Pack != p.Pack) {
				other = known
			}
			if other != nil && other != p && name != "" {
				file := &source{pack: p.Pack, path: p.File}
				problems.add(file.place(), 0, reasonDuplicateID, "id %s is already that of %s/%s", name, other.Pack, other.File)
			}
			names[key] = p
			if i == 0 {
				ids[key] = p
			}
		}
	}
}

// checkUnusedLibrary compiles what no policy uses, so that a mistake in the
// library is found before its first use. Token policies see everything that
// workspace policies see.
func (s sources) checkUnusedLibrary(problems *Problems) {
	known, ok := s.schemas[engine.ResourceToken]
	if !ok {
		return
	}
	used := map[*source]bool{}
	for _, file := range s.of(policySource) {
		modules := s.withLibrary(file)
		for _, library := range s.of(librarySource) {
			used[library] = used[library] || modules[library.place()] != nil
		}
	}
	for _, library := range s.of(librarySource) {
		if used[library] {
			continue
		}
		compiler := newCompiler().WithSchemas(schemaSet(known.withParams(nil)))
		if compiler.Compile(s.withLibrary(library)); compiler.Failed() {
			problems.addOPA(library.place(), compiler.Errors)
		}
	}
}

func newSet(all sources, policies []*policy) *Set {
	slices.SortFunc(policies, func(a, b *policy) int {
		return cmp.Or(cmp.Compare(a.Severity.Rank(), b.Severity.Rank()), cmp.Compare(a.ID, b.ID))
	})
	ids := make(map[string]bool, len(policies))
	for _, p := range policies {
		ids[p.ID] = true
	}
	results, waivers := splitWaivers(policies)
	return &Set{policies: results, waivers: waivers, ids: ids, sources: all, digest: digestOf(all), filters: &filters{known: map[string]madeFilter{}}}
}

// digestOf covers everything that decides results: Rego text, schemas, the
// sandbox and the version of OPA. Where packs lie does not count.
func digestOf(all sources) string {
	h := sha256.New()
	put := func(parts ...string) {
		for _, part := range parts {
			fmt.Fprintf(h, "%d:%s", len(part), part)
		}
	}
	put("opa", version.Version)
	put(sandboxDigestInput()...)
	for _, resource := range engine.SortedKeys(all.schemas) {
		text, _ := json.Marshal(all.schemas[resource]) // it came from JSON
		put(string(resource), string(text))
	}
	for _, file := range all.files {
		if file.kind != testSource {
			put(file.path, file.text)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Policies lists the policies by severity, then id.
func (s *Set) Policies() []engine.Policy {
	list := make([]engine.Policy, len(s.policies))
	for i, p := range s.policies {
		list[i] = p.Policy
	}
	return list
}

// Select makes a set of the policies that keep accepts.
func (s *Set) Select(keep func(engine.Policy) bool) *Set {
	chosen := *s
	chosen.policies = nil
	for _, p := range s.policies {
		if keep(p.Policy) {
			chosen.policies = append(chosen.policies, p)
		}
	}
	return &chosen
}

// With makes a set that runs under other options. It is not kept: a sandbox that
// waits has been told the options of before.
func (s *Set) With(options Options) *Set {
	changed := *s
	changed.options, changed.waiting = options, nil
	return &changed
}

// Digest is the sha256 (hexadecimal) of all that was loaded and of the sandbox it runs in.
func (s *Set) Digest() string { return s.digest }

// EngineVersion is the version of OPA that judges.
func EngineVersion() string { return "v" + version.Version }
