package collectors

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

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

// problemOf is the problem of a section that failed.
func problemOf(reason, hint, format string, args ...any) *Problem {
	return problem(engine.Failed, reason, hint, format, args...)
}

func badBody(format string, args ...any) *Problem {
	return problem(engine.Failed, reasonBadBody,
		"Check that the host is a Databricks workspace and that no proxy or login page answers in its place.", format, args...)
}

// hinted says what to do where the caller may not make the call, and where there is
// no such call: then the feature is off.
func (p *Problem) hinted(denied, absent string) *Problem {
	switch p.Reason {
	case reasonPermission:
		p.Hint = firstOf(denied, p.Hint)
	case reasonNotFound, reasonFeatureDisabled:
		p.Status, p.Reason, p.Hint = engine.Disabled, reasonFeatureDisabled, absent
	}
	return p
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

var errSectionTimeout = errors.New("section takes too long")

// interrupted tells why a context ended.
func interrupted(ctx context.Context) *Problem { return endedBy(context.Cause(ctx)) }

func endedBy(cause error) *Problem {
	if errors.Is(cause, errSectionTimeout) || errors.Is(cause, context.DeadlineExceeded) {
		return problem(engine.Failed, reasonTimeout, "Run it again when the workspace is less busy.", "the section was not read in time")
	}
	return problem(engine.Failed, reasonInterrupted, "Run it again.", "collection was interrupted")
}

func (c *Client) timeout(path string) *failure {
	p := problemOf(reasonTimeout, "Run it again when the workspace is less busy.", "GET %s: no answer within %s", path, c.o.IdleTimeout)
	return &failure{Problem: p, retries: retriesOfTimeout}
}

// lost classifies an attempt that brought no answer. A host to which no connection
// could be made is not tried for long: a wrong name or a stopped network will not
// mend itself.
func (c *Client) lost(path string, connected bool, err error) *failure {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	var network net.Error
	late := errors.As(err, &network) && network.Timeout()
	hint, retries := "Check the host of the workspace, the network, VPN and proxy.", retriesOfContact
	switch {
	case connected && late:
		return c.timeout(path)
	case connected:
		p := problemOf(reasonUnreachable, "Run it again; if it persists, look for a proxy or firewall that closes connections.", "GET %s: the connection broke off: %s", path, c.cause(err))
		return &failure{Problem: p, retries: retriesOfServer}
	case errors.As(err, &certificate):
		hint, retries = "Give the authority that signed the certificate with --ca-file.", 0
	case errors.As(err, &record):
		hint, retries = "The host does not speak TLS: check host and port.", 0
	case errors.As(err, &dns):
		hint = "Check the spelling of the host, and DNS."
	case late:
		retries = 0
	}
	reached := c.session.wasReached()
	if reached { // it was there a moment ago: perhaps it restarts
		retries = retriesOfServer
	}
	p := problemOf(reasonUnreachable, hint, "connect to %s: %s", c.base.Host, c.cause(err))
	p.fatal = true
	return &failure{Problem: p, retries: retries, quick: !reached}
}

// cause is the innermost text of a network error, without the URL.
func (c *Client) cause(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return c.scrub.excerpt(err.Error())
}

// jsonContent refuses what cannot be JSON, such as a login page with status 200.
func jsonContent(path string, h http.Header) *Problem {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case kind == "", kind == "text/plain", strings.HasSuffix(kind, "json"):
		return nil
	}
	return badBody("GET %s: the answer is %s, not JSON", path, engine.SafeText(kind))
}

// apiError is an error's body in any of the platform's shapes.
type apiError struct {
	Code    string
	Message string
}

// textCode is an error of the shape "CODE: message".
var textCode = regexp.MustCompile(`^\s*([A-Z][A-Z_]+):\s*(.*)`)

func parseAPIError(body []byte) apiError {
	var wire struct {
		Code    any          `json:"error_code"` // a word, or a number
		Message string       `json:"message"`
		Error   apiErrorText `json:"error"`
		Detail  string       `json:"detail"`
		Scim    string       `json:"scimType"`
	}
	if json.Unmarshal(body, &wire) != nil {
		if m := textCode.FindSubmatch(body); m != nil {
			return apiError{string(m[1]), string(m[2])}
		}
		return apiError{Message: string(body)}
	}
	e := apiError{Message: firstOf(wire.Message, wire.Detail, wire.Error.Message)}
	e.Code, _ = wire.Code.(string)
	e.Code = firstOf(e.Code, wire.Scim, wire.Error.Code)
	return e
}

// apiErrorText is an error's member of that name: a text, or what Azure has
// there, an object.
type apiErrorText struct{ apiError }

func (e *apiErrorText) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '{' {
		return json.Unmarshal(text, &e.apiError)
	}
	return json.Unmarshal(text, &e.Message)
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// refusal classifies an answer with a status other than 200.
func (c *Client) refusal(path string, response *http.Response, body io.Reader) *failure {
	text, _ := io.ReadAll(io.LimitReader(body, errorsLimit)) // what arrived is enough to tell
	e := parseAPIError(text)
	status, message := response.StatusCode, strings.ToLower(e.Message)
	says := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(message, part) })
	}
	var f *failure
	is := func(coverage engine.CoverageStatus, reason, hint string) {
		f = final(problem(coverage, reason, hint, "GET %s: status %d", path, status))
	}
	again := func() { // the clock that a date in Retry-After counts by is the server's
		now, err := http.ParseTime(response.Header.Get("Date"))
		if err != nil {
			now = c.o.Now()
		}
		f.retries, f.least = retriesOfServer, retryAfter(response.Header, now)
	}
	switch {
	case status >= 300 && status < 400:
		is(engine.Failed, reasonRedirect, "Give the workspace's own host; redirects are never followed.")
		if to, err := response.Location(); err == nil {
			f.Detail += " to " + engine.SafeText(to.Host)
			if strings.Contains(to.RawQuery, "private-link-validation-error") {
				f.Hint = "The workspace is reached through Private Link only: run from within its network."
			}
		}
	case status == http.StatusUnauthorized:
		is(engine.Denied, reasonUnauthenticated, "Sign in again, or renew the credential.")
	case status == http.StatusForbidden && says("invalid access token", "invalid token"):
		is(engine.Denied, reasonInvalidToken, "The credential is wrong, expired or revoked: sign in again.")
	case status == http.StatusForbidden && says("ip acl", "ip access list", "is blocked by"):
		is(engine.Denied, reasonIPBlocked, "Run from an address that the workspace's IP access list allows.")
	case status == http.StatusForbidden && says("scope"):
		is(engine.Denied, reasonMissingScope, "Give the credential the API scope that this call needs; docs/sections.md lists them.")
	case status == http.StatusForbidden:
		is(engine.Denied, reasonPermission, "Sign in as a workspace admin.")
	case status == http.StatusNotFound && (e.Code == "FEATURE_DISABLED" || says("feature is not available")):
		is(engine.Disabled, reasonFeatureDisabled, "Personal access tokens or their permissions are off in this workspace, or its plan is below Premium.")
	case status == http.StatusNotFound && path == grantsPath && (e.Code == "RESOURCE_DOES_NOT_EXIST" || e.Code == "NOT_FOUND") && noPermissions.MatchString(e.Message):
		is(engine.NotInitialised, reasonNotInitialised, "The workspace has had no token yet: its permissions appear with the first one.")
	case status == http.StatusNotFound:
		is(engine.Failed, reasonNotFound, "Check that the host is that of a workspace, not of an account.")
	case status == http.StatusTooManyRequests, strings.Contains(e.Code+e.Message, "REQUEST_LIMIT_EXCEEDED"):
		is(engine.Failed, reasonRateLimited, "Run it again later, or read fewer workspaces at once.")
		again()
	case status == 500, status == 502, status == 503, status == 504:
		is(engine.Failed, reasonServerError, "Run it again later; if it persists, ask Databricks support.")
		again()
	default:
		is(engine.Failed, reasonUnexpected, "Look at the message; if it does not help, ask Databricks support.")
	}
	f.Code, f.Message = e.Code, c.scrub.text(e.Message)
	if said := strings.TrimSpace(e.Code + " " + e.Message); said != "" && !strings.HasPrefix(strings.TrimSpace(e.Message), "<") {
		f.Detail += ": " + c.scrub.excerpt(said)
	}
	return f
}

// noPermissions is the answer of a workspace whose permissions on tokens were never
// set: "tokens tokens does not exist".
var noPermissions = regexp.MustCompile(`(?i)^\s*tokens ['"]?(/?authorization/)?tokens['"]? does not exist\.?\s*$`)

// secretShapes are texts that are credentials whatever they belong to.
var secretShapes = regexp.MustCompile(`(?i)\b(?:dapi|dkea|dose)[0-9a-f]{32}(?:-\d+)?` +
	`|\beyJ[\w-]+\.[\w-]+\.[\w-]*` +
	`|\bauthorization\s*[:=]\s*(?:(?:bearer|basic)\s+)?\S+` +
	`|\b(?:bearer|basic)\s+[\w.~+/=-]{8,}`)

// scrubber takes credentials out of texts that others wrote.
type scrubber struct{ secrets []string }

const scrubbed = "***"

func (s scrubber) text(text string) string {
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret, scrubbed)
	}
	return engine.RedactSecrets(secretShapes.ReplaceAllString(text, scrubbed))
}

// excerpt is the beginning of a foreign text, harmless and on one line.
func (s scrubber) excerpt(text string) string {
	const most = 240
	text = strings.Join(strings.Fields(s.text(text)), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return engine.SafeText(text)
}

// tally counts what is wrong with rows and keeps the first examples.
type tally struct {
	counts   map[string]int
	examples []string
	notes    []string
}

const mostExamples = 3

func (t *tally) add(reason, format string, args ...any) {
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[reason]++
	if len(t.examples) < mostExamples {
		t.examples = append(t.examples, fmt.Sprintf(format, args...))
	}
}

// note records what is odd without being a defect.
func (t *tally) note(format string, args ...any) {
	if len(t.notes) < mostExamples {
		t.notes = append(t.notes, fmt.Sprintf(format, args...))
	}
}

// join is both tallies together.
func (t tally) join(other tally) tally {
	joined := tally{
		counts:   maps.Clone(t.counts),
		examples: slices.Concat(t.examples, other.examples),
		notes:    slices.Concat(t.notes, other.notes),
	}
	if joined.counts == nil {
		joined.counts = map[string]int{}
	}
	for reason, n := range other.counts {
		joined.counts[reason] += n
	}
	return joined
}

// gravest orders reasons: rows that are not there before values that are not.
var gravest = []string{reasonPermission, reasonUnknownLevel, reasonMissingID, reasonDuplicateID, reasonDuplicateKey, reasonBadType, reasonBadTimestamp, reasonMissing}

// coverage is complete when nothing was added.
func (t *tally) coverage(rows int) engine.Coverage {
	c := engine.Coverage{Status: engine.Complete, Count: rows, Detail: strings.Join(t.notes, "; ")}
	if len(t.counts) == 0 {
		return c
	}
	var counted []string
	for _, reason := range gravest {
		if n := t.counts[reason]; n > 0 {
			c.Reason = firstOf(c.Reason, reason)
			counted = append(counted, fmt.Sprintf("%s %d", reason, n))
		}
	}
	c.Status = engine.Partial
	c.Detail = fmt.Sprintf("among %d rows: %s; first: %s", rows, strings.Join(counted, ", "), strings.Join(slices.Concat(t.examples, t.notes), "; "))
	c.Hint = "What could not be read counts as unknown; compare the rows with the workspace's own list."
	return c
}
