// Package eval runs policies that package policy has loaded. With it and its
// prefilter it is the only importer of Open Policy Agent.
//
// Evaluate gives every resource of a snapshot one result per policy.
// docs/policy-contract.md says which input a policy sees, and when a result is unknown.
package eval
