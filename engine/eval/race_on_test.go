//go:build race

package eval

// underRace: the race detector ends a process that runs out of memory itself,
// without the words of the runtime.
const underRace = true
