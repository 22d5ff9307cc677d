// Package baseline remembers the findings that were there when a team began,
// so that an audit fails on new ones only.
//
// A baseline is a file of fingerprints, made by an evaluation. It excuses what
// it lists and nothing else, holds no message and no comment, and says which of
// its entries are gone, so that it can shrink and never quietly grows. What an
// evaluation could not judge is not gone.
package baseline
