package main

import "runtime/debug"

// Go lets the heap grow to twice of what lives in it, which is little except
// with very many tokens or principals. These bounds, in bytes, make it collect
// sooner there. They are soft: what lives is never refused.
const (
	collectBound   = 256 << 20
	judgeBound     = 40 << 20
	judgeBoundEach = 64 // more for each token
)

// boundMemory sets a bound until the function that it returns is called. A bound
// of the user's own, GOMEMLIMIT, stands.
func (e *env) boundMemory(bytes int64) (restore func()) {
	if _, set := e.lookup("GOMEMLIMIT"); set {
		return func() {}
	}
	before := debug.SetMemoryLimit(bytes)
	return func() { debug.SetMemoryLimit(before) }
}
