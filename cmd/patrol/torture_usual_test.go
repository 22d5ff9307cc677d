//go:build !race

package main

const usualKills = 300

const underRace = false
