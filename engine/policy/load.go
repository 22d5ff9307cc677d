package policy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/version"

	"patrol/engine"
)

// Set is the policies of some packs. It is safe for concurrent use.
type Set struct {
	Resources []*Compiled // those that judge resources, by severity, then id
	Waivers   []*Compiled // those over waivers, in the same order

	ids     map[string]bool // of all policies loaded, those that Select left out included
	sources sources
	digest  string
}

// Load reads packs, in the order given, and checks them. The error tells all
// that is wrong, each with its place: its cause is of type Problems.
func Load(ctx context.Context, packs ...Pack) (*Set, error) {
	var problems Problems
	all := readPacks(packs, &problems)
	all.parse(librarySource, &problems)
	all.parse(policySource, &problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	all.checkPackages(&problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	files := all.of(policySource)
	read := make([]engine.Policy, len(files))
	for i, file := range files {
		read[i] = readMetadata(file, &problems)
	}
	compilers := all.shareCompilers(files, read)
	var policies []*Compiled
	for i, file := range files {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("load policies: %w", err)
		}
		if p := all.compile(file, read[i], compilers[file], &problems); p != nil {
			policies = append(policies, p)
		}
	}
	checkIDs(policies, &problems)
	all.checkUnusedLibrary(&problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(policies, func(a, b *Compiled) int {
		return cmp.Or(cmp.Compare(a.Severity.Rank(), b.Severity.Rank()), cmp.Compare(a.ID, b.ID))
	})
	set := &Set{ids: make(map[string]bool, len(policies)), sources: all, digest: digestOf(all)}
	for _, p := range policies {
		set.ids[p.ID] = true
		if p.Resource == engine.ResourceWaiver {
			set.Waivers = append(set.Waivers, p)
		} else {
			set.Resources = append(set.Resources, p)
		}
	}
	return set, nil
}

// checkIDs refuses two policies of one id, and an id or alias of another pack's
// policy, in any letter case: waivers, baselines and configuration go by them.
func checkIDs(policies []*Compiled, problems *Problems) {
	ids, names := map[string]*Compiled{}, map[string]*Compiled{}
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
		if compiler, wrong := compiled(s.withLibrary(library), known, nil, library.place()); compiler.Failed() {
			*problems = append(*problems, wrong...)
		}
	}
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

// Policies lists the policies that judge resources by severity, then id.
func (s *Set) Policies() []engine.Policy { return listed(s.Resources) }

// WaiverPolicies lists the policies over waivers by severity, then id. They are
// no part of Policies and of Select: which waivers count does not depend on
// what is looked at today.
func (s *Set) WaiverPolicies() []engine.Policy { return listed(s.Waivers) }

func listed(policies []*Compiled) []engine.Policy {
	list := make([]engine.Policy, len(policies))
	for i, p := range policies {
		list[i] = p.Policy
	}
	return list
}

// Select makes a set of the policies that keep accepts.
func (s *Set) Select(keep func(engine.Policy) bool) *Set {
	chosen := *s
	chosen.Resources = nil
	for _, p := range s.Resources {
		if keep(p.Policy) {
			chosen.Resources = append(chosen.Resources, p)
		}
	}
	return &chosen
}

// HasThirdParty reports whether a pack was loaded that is not trusted.
func (s *Set) HasThirdParty() bool {
	return slices.ContainsFunc(s.sources.files, func(f *source) bool { return !f.trusted })
}

// Digest is the sha256 (hexadecimal) of all that was loaded and of the builtins allowed.
func (s *Set) Digest() string { return s.digest }

// EngineVersion is the version of OPA that judges.
func EngineVersion() string { return "v" + version.Version }
