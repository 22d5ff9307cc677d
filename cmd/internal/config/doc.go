// Package config reads patrol.yaml: strictly, with the line of each value, and
// checked as far as the file alone can be. Set fills the flags of a command
// from it and from the environment.
package config
