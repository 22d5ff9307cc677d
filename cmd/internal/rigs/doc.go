// Package rigs has no code, only tests that are machines: they kill, starve and
// race the real binary, take guards out of the code, and hold pages and release
// files to what is there.
package rigs
