package patrol.token.comment_secret_test

import data.patrol.lib.fixtures
import data.patrol.token.comment_secret

holding(kinds) := fixtures.token({"token": {"comment_secrets": kinds}}, {})

test_secrets_fire_as_one if {
	findings := comment_secret.deny with input as holding(["a Slack token", "a private key"])
	findings == {{"msg": "comment holds a Slack token, a private key", "kinds": ["a Slack token", "a private key"]}}
}

test_none_is_silent if {
	findings := comment_secret.deny with input as holding([])
	findings == set()
}

test_unknown_comment_is_silent if {
	findings := comment_secret.deny with input as fixtures.without(holding([]), ["token/comment_secrets"])
	findings == set()
}
