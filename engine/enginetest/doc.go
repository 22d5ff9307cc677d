// Package enginetest makes tokens and principals for tests that must hold for
// any: every field present, absent and at the thresholds that policies use.
package enginetest
