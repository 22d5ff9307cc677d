package sandbox

import (
	"fmt"
	"os"
	"runtime/metrics"
	"time"
)

// maxMemory is what a sandbox may take to judge.
const maxMemory = 1 << 30

// watchMemory calls end once this process holds more than limit bytes. It looks
// a hundred times a second: what is taken between two looks is not bounded.
func watchMemory(limit uint64, end func()) {
	for range time.Tick(10 * time.Millisecond) {
		if heldMemory() > limit {
			end()
			return
		}
	}
}

// heldMemory is the bytes that the runtime holds and has not given back.
func heldMemory() uint64 {
	held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(held)
	return held[0].Value.Uint64() - held[1].Value.Uint64()
}

// endForMemory ends this process as the runtime does that gets no more memory.
func endForMemory() {
	fmt.Fprintln(os.Stderr, "fatal error: out of memory: more than a sandbox may take")
	os.Exit(2)
}
