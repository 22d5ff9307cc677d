// Package policies holds the built-in policies, so that the binary needs no
// files beside it. A policy is one Rego file under token/, workspace/, secret/ or waiver/
// with its test next to it; README.md says how one is written.
package policies

import "embed"

// FS holds the library (lib/), the schemas of a policy's input
// (schemas/<resource>.json), and the policies with their tests
// (token/lifetime.rego, token/lifetime_test.rego). Its root is this folder.
//
//go:embed lib/*.rego schemas/*.json token/*.rego workspace/*.rego secret/*.rego waiver/*.rego
var FS embed.FS
