package policy

import (
	"maps"
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// allowed lists the builtins that policies may call: functions of their
// arguments alone, whose cost the deadline can bound. Every builtin of OPA is
// either here or in refused; a test fails when an upgrade brings one that
// nobody has classified.
func allowed() []string {
	return slices.Concat(
		// comparison, assignment, membership, template strings
		[]string{"eq", "equal", "neq", "lt", "lte", "gt", "gte", "assign",
			"internal.member_2", "internal.member_3", "internal.template_string"},
		// numbers
		[]string{"plus", "minus", "mul", "div", "rem", "abs", "ceil", "floor", "round", "numbers.range",
			"format_int", "to_number", "units.parse", "units.parse_bytes",
			"bits.and", "bits.or", "bits.xor", "bits.negate"},
		// collections
		[]string{"and", "or", "union", "intersection", "count", "sum", "product", "max", "min", "sort",
			"array.concat", "array.flatten", "array.reverse", "array.slice",
			"object.filter", "object.get", "object.keys", "object.remove", "object.subset", "object.union", "object.union_n",
			"json.filter", "json.remove", "walk", "graph.reachable"},
		// text
		[]string{"concat", "contains", "startswith", "endswith", "indexof", "indexof_n", "lower", "upper",
			"replace", "split", "sprintf", "substring", "trim", "trim_left", "trim_prefix", "trim_right",
			"trim_space", "trim_suffix", "strings.any_prefix_match", "strings.any_suffix_match", "strings.count",
			"strings.replace_n", "strings.reverse", "strings.split_n",
			"regex.match", "regex.is_valid", "regex.find_n", "regex.find_all_string_submatch_n", "regex.replace", "regex.split",
			"glob.match", "glob.quote_meta"},
		// encodings and digests
		[]string{"base64.decode", "base64.encode", "base64.is_valid",
			"base64url.decode", "base64url.encode", "base64url.encode_no_pad", "hex.decode", "hex.encode",
			"urlquery.decode", "urlquery.decode_object", "urlquery.encode", "urlquery.encode_object",
			"json.marshal", "json.marshal_with_options", "json.unmarshal", "json.is_valid",
			"crypto.md5", "crypto.sha1", "crypto.sha256"},
		// types
		[]string{"is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string", "type_name"},
		// notations: addresses, versions, ids, instants
		[]string{"net.cidr_contains", "net.cidr_contains_matches", "net.cidr_intersects", "net.cidr_is_valid", "net.cidr_merge",
			"semver.compare", "semver.is_valid", "uri.is_valid", "uri.parse", "uuid.parse",
			"time.parse_rfc3339_ns", "time.parse_duration_ns"},
		// tests: print is erased from policies and shown by the test runner only
		[]string{"print", "internal.print", "internal.test_case"},
	)
}

// Why a builtin is refused.
const (
	whyNetwork    = "it reaches the network"
	whyEnv        = "it reads the environment of the process"
	whyClock      = "it reads the clock"
	whyRandom     = "its result is random"
	whyZone       = "it can read the machine's time zone; input has whole days and ms instead"
	whyKeys       = "it works on keys or secrets, which policies do not hold"
	whyDeprecated = "it is deprecated"
	whyUnbounded  = "its cost cannot be bounded by a deadline"
	whyParser     = "it parses languages that no field of input holds"
	whyRewrites   = "policies judge, they do not rewrite"
	whyMetadata   = "metadata is for patrol to read, not for the rule"
)

// refused names every other builtin with the reason, which the error for a
// policy that calls it repeats.
func refused() map[string]string {
	return map[string]string{
		"http.send": whyNetwork, "net.lookup_ip_addr": whyNetwork,
		"json.match_schema": whyNetwork, "json.verify_schema": whyNetwork,
		"graphql.parse": whyParser, "graphql.parse_and_verify": whyParser, "graphql.parse_query": whyParser,
		"graphql.parse_schema": whyParser, "graphql.is_valid": whyParser, "graphql.schema_is_valid": whyParser,
		"rego.parse_module": whyParser,
		"yaml.is_valid":     whyParser, "yaml.marshal": whyParser, "yaml.unmarshal": whyParser,
		"opa.runtime": whyEnv,
		"trace":       "its output goes nowhere; use print in tests",
		"time.now_ns": whyClock,
		"crypto.x509.parse_and_verify_certificates":              whyClock,
		"crypto.x509.parse_and_verify_certificates_with_options": whyClock,
		"io.jwt.decode_verify":                                   whyClock,
		"providers.aws.sign_req":                                 whyClock,
		"rand.intn":                                              whyRandom, "uuid.rfc4122": whyRandom,
		"io.jwt.encode_sign": whyRandom, "io.jwt.encode_sign_raw": whyRandom,
		"time.add_date": whyZone, "time.clock": whyZone, "time.date": whyZone, "time.diff": whyZone,
		"time.format": whyZone, "time.parse_ns": whyZone, "time.weekday": whyZone,
		"crypto.hmac.equal": whyKeys, "crypto.hmac.md5": whyKeys, "crypto.hmac.sha1": whyKeys,
		"crypto.hmac.sha256": whyKeys, "crypto.hmac.sha512": whyKeys,
		"crypto.parse_private_keys": whyKeys, "crypto.x509.parse_certificate_request": whyKeys,
		"crypto.x509.parse_certificates": whyKeys, "crypto.x509.parse_keypair": whyKeys,
		"crypto.x509.parse_rsa_private_key": whyKeys, "io.jwt.decode": whyKeys,
		"io.jwt.verify_eddsa": whyKeys, "io.jwt.verify_es256": whyKeys, "io.jwt.verify_es384": whyKeys,
		"io.jwt.verify_es512": whyKeys, "io.jwt.verify_hs256": whyKeys, "io.jwt.verify_hs384": whyKeys,
		"io.jwt.verify_hs512": whyKeys, "io.jwt.verify_ps256": whyKeys, "io.jwt.verify_ps384": whyKeys,
		"io.jwt.verify_ps512": whyKeys, "io.jwt.verify_rs256": whyKeys, "io.jwt.verify_rs384": whyKeys,
		"io.jwt.verify_rs512": whyKeys,
		"all":                 whyDeprecated, "any": whyDeprecated, "re_match": whyDeprecated, "set_diff": whyDeprecated,
		"net.cidr_overlap": whyDeprecated, "cast_array": whyDeprecated, "cast_boolean": whyDeprecated,
		"cast_null": whyDeprecated, "cast_object": whyDeprecated, "cast_set": whyDeprecated, "cast_string": whyDeprecated,
		"bits.lsh": whyUnbounded, "bits.rsh": whyUnbounded, "graph.reachable_paths": whyUnbounded,
		"strings.render_template": whyUnbounded, "numbers.range_step": whyUnbounded, "net.cidr_expand": whyUnbounded,
		"regex.globs_match": whyUnbounded, "regex.template_match": whyUnbounded,
		"json.patch":          whyRewrites,
		"rego.metadata.chain": whyMetadata, "rego.metadata.rule": whyMetadata,
	}
}

// capabilities is the sandbox: what is not in it does not exist for a policy.
// Keywords and features that OPA still calls future ones are left out, so that
// a policy means the same after an upgrade.
var capabilities = sync.OnceValue(func() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	names := allowed()
	c.Builtins = slices.DeleteFunc(slices.Clone(c.Builtins), func(b *ast.Builtin) bool { return !slices.Contains(names, b.Name) })
	c.AllowNet = []string{}
	c.FutureKeywords = nil
	c.Features = slices.DeleteFunc(slices.Clone(c.Features), func(f string) bool { return f == "rego_v2" || f == "rego_v2_import" })
	return c
})

// sandboxDigestInput is the text of the sandbox for Digest.
var sandboxDigestInput = sync.OnceValue(func() []string {
	return slices.Concat(slices.Sorted(slices.Values(allowed())), slices.Sorted(maps.Keys(refused())))
})
