//go:build !linux

package store

import "math"

// freeBytes cannot be told here: the first line written will tell.
func freeBytes(string) (int64, error) { return math.MaxInt64, nil }
