package patrol.token.comment_secret_test

import data.patrol.lib.fixtures
import data.patrol.token.comment_secret

# Secrets are put together here, so that no scanner takes this file for a leak.
hex := "0123456789abcdef0123456789abcdef"

alphanumeric := "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"

secrets := {
	"an AWS access key": [
		concat("", ["AK", "IAIOSFODNN7EXAMPLE"]),
		concat("", ["key AS", "IAIOSFODNN7EXAMPLE."]),
	],
	"a Databricks token": [concat("", ["old:da", "pi", hex]), concat("", ["dk", "ea", hex, "-2"]), concat("", ["do", "se", hex])],
	"a GitHub token": [
		concat("", ["ci=gh", "p_", alphanumeric]),
		concat("", ["gh", "s_", alphanumeric]),
		concat("", ["github", "_pat_", alphanumeric]),
	],
	"a JSON web token": [concat("", ["Bearer ey", "JhbGciOiJIUzI1NiJ9.ey", "JzdWIiOiJhbm4ifQ.c2ln"])],
	"a password": [
		concat("", ["jdbc user=ann pass", "word=hunter2"]),
		concat("", ["PASS", "WORD = 'hunter2'"]),
		concat("", ["db_pass", "wd:hunter2"]),
		concat("", ["client_sec", "ret=hunter2"]),
		concat("", ["api", "-key=hunter2"]),
		concat("", ["p", "wd=hunt"]),
	],
	"a private key": [
		concat("", ["-----BEGIN", " PRIVATE KEY-----"]),
		concat("", ["-----BEGIN", " RSA PRIVATE KEY-----"]),
	],
	"a Slack token": [concat("", ["xo", "xb-1234567890-abc"])],
}

harmless := [
	"",
	"nightly export, OPS-12",
	"password: rotate monthly, see vault",
	"password = ${EXPORT_PASSWORD}",
	"secret={{secrets/scope/key}}",
	"api_key=<redacted>",
	"pwd=****",
	"secret:OPS-12",
	"passwordless=yes, bypassword=no way",
	"pwd=abc",
	concat("", ["DA", "PI", hex]),
	concat("", ["da", "pi0123456789"]),
	concat("", ["XAK", "IAIOSFODNN7EXAMPLE"]),
	concat("", ["AK", "IAIOSFODNN7EXAMPLES"]),
	"eyJhbGciOiJIUzI1NiJ9 alone",
	"-----BEGIN CERTIFICATE-----",
	"xoxb-short",
]

noted(comment) := fixtures.token({"token": {"comment": comment}}, {})

test_secret_fires_and_is_not_repeated if {
	every kind, comments in secrets {
		every comment in comments {
			findings := comment_secret.deny with input as noted(comment)
			findings == {{"msg": sprintf("comment holds %s", [kind]), "kinds": [kind]}}
		}
	}
}

test_every_pattern_is_tested if object.keys(secrets) == object.keys(comment_secret.patterns)

test_several_fire_as_one if {
	comment := concat(" ", [secrets["a private key"][0], secrets["a Slack token"][0]])
	findings := comment_secret.deny with input as noted(comment)
	findings == {{"msg": "comment holds a Slack token, a private key", "kinds": ["a Slack token", "a private key"]}}
}

test_harmless_is_silent if {
	every comment in harmless {
		findings := comment_secret.deny with input as noted(comment)
		findings == set()
	}
}

test_unknown_comment_is_silent if {
	findings := comment_secret.deny with input as fixtures.without(noted(""), ["token/comment"])
	findings == set()
}
