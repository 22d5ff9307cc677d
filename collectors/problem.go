package collectors

import (
	"fmt"

	"patrol/engine"
)

// The reasons that coverage carries, one word each, for good.
const (
	reasonBadBody         = "bad_body"
	reasonBadTimestamp    = "bad_timestamp"
	reasonBadType         = "bad_type"
	reasonConfig          = "config"
	reasonDuplicateID     = "duplicate_id"
	reasonDuplicateKey    = "duplicate_key"
	reasonEndless         = "endless"
	reasonFeatureDisabled = "feature_disabled"
	reasonInsecure        = "insecure_host"
	reasonInterrupted     = "interrupted"
	reasonInvalidToken    = "invalid_token"
	reasonIPBlocked       = "ip_blocked"
	reasonKeys            = "unreadable_keys"
	reasonMissing         = "missing"
	reasonMissingID       = "missing_id"
	reasonMissingScope    = "missing_scope"
	reasonNoCredentials   = "no_credentials"
	reasonNotAList        = "not_a_list"
	reasonNotFound        = "not_found"
	reasonNotInitialised  = "not_initialised"
	reasonNotRunning      = "not_running"
	reasonPaged           = "paged"
	reasonPermission      = "permission_denied"
	reasonRateLimited     = "rate_limited"
	reasonRedirect        = "redirect"
	reasonServerError     = "server_error"
	reasonSignIn          = "sign_in"
	reasonSpool           = "spool"
	reasonTimeout         = "timeout"
	reasonTotals          = "totals_differ"
	reasonTruncatedBody   = "truncated_body"
	reasonUnauthenticated = "unauthenticated"
	reasonUnexpected      = "unexpected_status"
	reasonUnknownLevel    = "unknown_level"
	reasonUnreachable     = "unreachable"
	reasonWrongWorkspace  = "wrong_workspace"
)

// Problem is why a call brought nothing usable, in the words of coverage.
type Problem struct {
	Status engine.CoverageStatus
	Reason string
	Detail string // a sentence without any credential
	Hint   string

	Code    string // error code of the answer, if any
	Message string // message of the answer, scrubbed

	fatal bool // every further call would meet it too, whatever the reason's word
}

func (p *Problem) Error() string { return p.Reason + ": " + p.Detail }

// Coverage is what the problem makes of a section.
func (p *Problem) Coverage() engine.Coverage {
	return engine.Coverage{Status: p.Status, Reason: p.Reason, Detail: p.Detail, Hint: p.Hint}
}

// Fatal reports whether every further call to the workspace would meet the
// same problem.
func (p *Problem) Fatal() bool {
	switch p.Reason {
	case reasonUnauthenticated, reasonInvalidToken, reasonIPBlocked, reasonInterrupted,
		reasonConfig, reasonInsecure, reasonNoCredentials, reasonSignIn, reasonWrongWorkspace:
		return true
	}
	return p.fatal
}

func problem(status engine.CoverageStatus, reason, hint, format string, args ...any) *Problem {
	return &Problem{Status: status, Reason: reason, Hint: hint, Detail: fmt.Sprintf(format, args...)}
}

func badBody(format string, args ...any) *Problem {
	return problem(engine.Failed, reasonBadBody,
		"Check that the host is a Databricks workspace and that no proxy or login page answers in its place.", format, args...)
}

const hintImplausible = "Nothing of this is believed. Run it again; if it persists, find out who answers: the workspace, or a proxy or cache in its place."

// implausible is the problem of an answer that cannot be true.
func implausible(reason, format string, args ...any) *Problem {
	return problem(engine.Implausible, reason, hintImplausible, format, args...)
}

func truncatedBody(format string, args ...any) *Problem {
	return problem(engine.Truncated, reasonTruncatedBody,
		"Run it again; if it persists, look for a proxy that cuts long answers off.", format, args...)
}

func configProblem(hint, format string, args ...any) *Problem {
	return problem(engine.Failed, reasonConfig, hint, format, args...)
}
