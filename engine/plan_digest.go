package engine

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// TextDigest is the SHA-256 (hexadecimal) of a text's bytes.
func TextDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// PolicyDigest is the digest of what decides about the verdicts of policies:
// their source and what it rests on, the tokens they judge and the defaults of
// their parameters.
func PolicyDigest(policies []Policy) string {
	sorted := slices.Clone(policies)
	slices.SortFunc(sorted, func(a, b Policy) int { return cmp.Compare(a.ID, b.ID) })
	rows := make([]any, len(sorted))
	for i, p := range sorted {
		defaults := map[string]any{}
		for _, param := range p.Params {
			defaults[param.Name] = param.Default
		}
		rows[i] = []any{p.ID, p.Package, p.Judges, p.Source, p.Basis, defaults}
	}
	return TextDigest(string(CompactJSON(rows)))
}
