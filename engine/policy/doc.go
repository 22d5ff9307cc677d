// Package policy reads and checks policies; package eval runs them.
//
// A pack is a directory or a bundle of Rego files. Load checks everything that
// can be checked before a token is seen: metadata, types, the builtins that are
// called, the data that is read. Lint and RunTests are for authors.
// docs/policy-contract.md is what all of it promises.
//
// Words: a policy reads fields of its input, such as input.token.age_days. From
// these follow its needs (sections or single settings that must have been
// covered), the fields that make a result unknown when they are unknown, and the
// evidence of a finding. Nothing of it is declared twice: it is found in the
// compiled Rego.
package policy
