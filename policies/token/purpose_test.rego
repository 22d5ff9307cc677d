package patrol.token.purpose_test

import data.patrol.lib.fixtures
import data.patrol.token.purpose

params := {"pattern": ""}

ticket := {"pattern": `\b[A-Z]+-[0-9]+\b`}

noted(comment) := {"token": {"comment": comment}}

test_no_comment_fires if {
	every comment in ["", " \t "] {
		findings := purpose.deny with input as fixtures.token(noted(comment), params)
		findings == {"no comment"}
	}
}

test_no_comment_fires_once if {
	findings := purpose.deny with input as fixtures.token(noted(""), ticket)
	findings == {"no comment"}
}

test_any_text_is_silent if {
	findings := purpose.deny with input as fixtures.token(noted("x"), params)
	findings == set()
}

test_no_ticket_fires if {
	findings := purpose.deny with input as fixtures.token(noted("nightly export"), ticket)
	findings == {`comment does not match \b[A-Z]+-[0-9]+\b`}
}

test_ticket_is_silent if {
	findings := purpose.deny with input as fixtures.token(noted("nightly export, OPS-12"), ticket)
	findings == set()
}

test_unknown_comment_is_silent if {
	findings := purpose.deny with input as fixtures.without(fixtures.token({}, ticket), ["token/comment"])
	findings == set()
}
