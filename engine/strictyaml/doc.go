// Package strictyaml reads YAML files that people write, such as patrol.yaml
// and waivers.yaml, into structs. An unknown key, a key that stands twice, a
// value of another type or outside its bounds is a problem with its line, and
// all problems of a file are found in one reading. The line of each value is
// kept. What is too deep or grows too large by aliases is refused.
//
// A struct says all that is to be known of a key in tags:
//
//	Limit int `yaml:"limit" min:"0" max:"100" doc:"Most steps of a plan"`
//
// `one_of:"a,b"` closes the set of values, `want:"…"` completes the message
// "want …" for a wrong kind of value, `yaml:"key,single"` takes a lone value for
// a list, and `yaml:",rest"` on a map takes the keys that no other field has.
// A type with a method UnmarshalText reads its own text; one with a method
// Words has a closed set of values. Schema tells the same to editors.
package strictyaml
