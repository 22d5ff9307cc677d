package main

import (
	"os"
	"runtime/debug"
)

// Go lets the heap grow to twice of what lives in it, which is little except
// with very many tokens or principals. These bounds, in bytes, make it collect
// sooner there. They are soft: what lives is never refused.
const (
	collectBound        = 256 << 20
	judgeBound          = 40 << 20
	judgeBoundEach      = 64        // more for each token
	judgeBoundWorkspace = 128 << 10 // and for each workspace, whose documents are held
	planBound           = 64 << 20
	planBoundEach       = 4 // more for each byte of the plan's file: about what it takes in memory
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

// boundForPlan is boundMemory for who reads a plan.
func (e *env) boundForPlan(path string) (restore func()) {
	file, err := os.Stat(path)
	if err != nil {
		return func() {} // reading it tells
	}
	return e.boundMemory(planBound + planBoundEach*file.Size())
}
