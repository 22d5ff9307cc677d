package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// smallHeap is how far the heap may grow before the garbage collector runs. By itself Go
// would begin at 4 MB and run a dozen times in the audit of a small workspace, for an
// eighth of its time. Larger heaps are collected as ever.
const smallHeap = 24 << 20

// goMinimum is the heap below which Go with a GOGC of 100 never collects; it grows with GOGC.
const goMinimum = 4 << 20

// allowSmallHeap keeps smallHeap, from one collection to the next. GOGC of the user's own stands.
func allowSmallHeap() {
	if _, set := os.LookupEnv("GOGC"); set {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := smallHeap*100/max(int(live[0].Value.Uint64()), 1<<20) - 100
	debug.SetGCPercent(min(max(percent, 100), smallHeap*100/goMinimum))
	type after struct{ _ [16]byte }
	runtime.AddCleanup(&after{}, func(struct{}) { allowSmallHeap() }, struct{}{})
}
