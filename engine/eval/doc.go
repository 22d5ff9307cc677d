// Package eval runs policies. It is the only importer of Open Policy Agent.
//
// A pack is a directory of Rego files; Load reads packs, checks everything that
// can be checked before a token is seen (metadata, types, sandbox, which data a
// policy reads) and returns a Set. Evaluate gives every resource of a snapshot
// one result per policy. docs/policy-contract.md is what both promise.
//
// Words: a policy reads fields of its input, such as input.token.age_days. From
// these follow its needs (sections or single settings that must have been
// covered), the facts that make a result unknown when they are unknown, and the
// evidence of a finding. Nothing of it is declared twice: it is found in the
// compiled Rego.
package eval
