//go:build race

package main

// usualKills are fewer under the race detector: each start of the binary takes
// ten times as long.
const usualKills = 20

// underRace: the race detector is on.
const underRace = true

const (
	usualBlows  = 1
	imagesShare = 4
)
