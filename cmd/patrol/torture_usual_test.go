//go:build !race

package main

const usualKills = 100

const underRace = false

const (
	usualBlows  = 4 // to each command
	imagesShare = 1 // of the usual number
)
