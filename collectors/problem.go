package collectors

import (
	"cmp"
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
	"time"

	"patrol/engine"
)

// The reasons that coverage carries, one word each, for good.
const (
	reasonBadBody         = "bad_body"
	reasonBadTimestamp    = "bad_timestamp"
	reasonBadType         = "bad_type"
	reasonConfig          = "config"
	reasonContradictory   = "contradictory"
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

// Problem is why a call brought nothing usable, and what that makes of a section. Its
// detail holds no credential.
type Problem struct {
	engine.Coverage

	Code    string // error code of the answer, if any
	Message string // message of the answer, scrubbed

	fatal   bool          // every further call would meet it too, whatever the reason's word
	retries int           // further attempts that are worth it
	quick   bool          // a short pause before the next one instead of backing off
	least   time.Duration // what the server asks to wait
}

func (p *Problem) Error() string { return p.Reason + ": " + p.Detail }

// failed is the section that a problem leaves.
func failed(p *Problem) engine.Section { return engine.Section{Coverage: p.Coverage} }

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

func (p *Problem) class() engine.Class {
	switch p.Reason {
	case reasonConfig, reasonInsecure, reasonNoCredentials:
		return engine.ClassUsage
	}
	return engine.ClassIncomplete
}

// error is the problem in the words of commands.
func (p *Problem) error(op, target string) error {
	return &engine.Error{Class: p.class(), Reason: p.Reason, Op: op, Target: target, Hint: p.Hint, Err: errors.New(p.Detail)}
}

func problem(status engine.CoverageStatus, reason, hint, format string, args ...any) *Problem {
	return &Problem{Coverage: engine.Coverage{Status: status, Reason: reason, Hint: hint, Detail: fmt.Sprintf(format, args...)}}
}

// problemOf is the problem of a section that failed.
func problemOf(reason, hint, format string, args ...any) *Problem {
	return problem(engine.Failed, reason, hint, format, args...)
}

func configProblem(hint, format string, args ...any) *Problem {
	return problemOf(reasonConfig, hint, format, args...)
}

func badBody(format string, args ...any) *Problem {
	return problemOf(reasonBadBody,
		"Check that the host is a Databricks workspace and that no proxy or login page answers in its place.", format, args...)
}

func truncatedBody(format string, args ...any) *Problem {
	return problem(engine.Truncated, reasonTruncatedBody,
		"Run it again; if it persists, look for a proxy that cuts long answers off.", format, args...)
}

// implausible is the problem of an answer that cannot be true.
func implausible(reason, format string, args ...any) *Problem {
	return problem(engine.Implausible, reason,
		"Nothing of this is believed. Run it again; if it persists, find out who answers: the workspace, or a proxy or cache in its place.", format, args...)
}

// hinted says what to do where the caller may not make the call, and where there is
// no such call: then the feature is off.
func (p *Problem) hinted(denied, absent string) *Problem {
	switch p.Reason {
	case reasonPermission:
		p.Hint = cmp.Or(denied, p.Hint)
	case reasonNotFound, reasonFeatureDisabled:
		p.Status, p.Reason, p.Hint = engine.Disabled, reasonFeatureDisabled, absent
	}
	return p
}

var errSectionTimeout = errors.New("section takes too long")

// interrupted tells why a context ended.
func interrupted(ctx context.Context) *Problem { return endedBy(context.Cause(ctx)) }

func endedBy(cause error) *Problem {
	if errors.Is(cause, errSectionTimeout) || errors.Is(cause, context.DeadlineExceeded) {
		return problemOf(reasonTimeout, "Run it again when the workspace is less busy.", "the section was not read in time")
	}
	return problemOf(reasonInterrupted, "Run it again.", "collection was interrupted")
}

func (c *Client) timeout(path string) *Problem {
	p := problemOf(reasonTimeout, "Run it again when the workspace is less busy.", "GET %s: no answer within %s", path, c.o.IdleTimeout)
	p.retries = retriesOfTimeout
	return p
}

// lost classifies an attempt that brought no answer. A host to which no connection
// could be made is not tried for long: a wrong name or a stopped network will not
// mend itself.
func (c *Client) lost(path string, connected bool, err error) *Problem {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	var network net.Error
	late := errors.As(err, &network) && network.Timeout()
	if connected && late {
		return c.timeout(path)
	}
	if connected {
		p := problemOf(reasonUnreachable, "Run it again; if it persists, look for a proxy or firewall that closes connections.",
			"GET %s: the connection broke off: %s", path, c.cause(err))
		p.retries = retriesOfServer
		return p
	}
	p := problemOf(reasonUnreachable, "Check the host of the workspace, the network, VPN and proxy.", "connect to %s: %s", c.base.Host, c.cause(err))
	p.fatal, p.retries = true, retriesOfContact
	switch {
	case errors.As(err, &certificate):
		p.Hint, p.retries = "Give the authority that signed the certificate with --ca-file.", 0
	case errors.As(err, &record):
		p.Hint, p.retries = "The host does not speak TLS: check host and port.", 0
	case errors.As(err, &dns):
		p.Hint = "Check the spelling of the host, and DNS."
	case late:
		p.retries = 0
	}
	if p.quick = !c.session.wasReached(); !p.quick { // it was there a moment ago: perhaps it restarts
		p.retries = retriesOfServer
	}
	return p
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
	if kind == "" || kind == "text/plain" || strings.HasSuffix(kind, "json") {
		return nil
	}
	return badBody("GET %s: the answer is %s, not JSON", path, engine.SafeText(kind))
}

// textCode is an error of the shape "CODE: message".
var textCode = regexp.MustCompile(`^\s*([A-Z][A-Z_]+):\s*(.*)`)

// parseAPIError reads an error's body in any of the platform's shapes.
func parseAPIError(body []byte) (code, message string) {
	var answer struct {
		Code    any             `json:"error_code"` // a word, or a number
		Message string          `json:"message"`
		Error   json.RawMessage `json:"error"` // a text, or what Azure has there, an object
		Detail  string          `json:"detail"`
		SCIM    string          `json:"scimType"`
	}
	if json.Unmarshal(body, &answer) != nil {
		if m := textCode.FindSubmatch(body); m != nil {
			return string(m[1]), string(m[2])
		}
		return "", string(body)
	}
	var inner struct{ Code, Message string }
	if json.Unmarshal(answer.Error, &inner) != nil {
		inner.Message, _ = asText(answer.Error)
	}
	word, _ := answer.Code.(string)
	return cmp.Or(word, answer.SCIM, inner.Code), cmp.Or(answer.Message, answer.Detail, inner.Message)
}

// refusal classifies an answer with a status other than 200.
func (c *Client) refusal(path string, response *http.Response, body io.Reader) *Problem {
	text, _ := io.ReadAll(io.LimitReader(body, errorsLimit)) // what arrived is enough to tell
	code, message := parseAPIError(text)
	status, lower := response.StatusCode, strings.ToLower(message)
	says := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(lower, part) })
	}
	p := problemOf("", "", "GET %s: status %d", path, status)
	p.Code, p.Message = code, c.scrub.text(message)
	is := func(status engine.CoverageStatus, reason, hint string) {
		p.Status, p.Reason, p.Hint = status, reason, hint
	}
	again := func() { // the clock that a date in Retry-After counts by is the server's
		now, err := http.ParseTime(response.Header.Get("Date"))
		if err != nil {
			now = c.o.Now()
		}
		p.retries, p.least = retriesOfServer, retryAfter(response.Header, now)
	}
	switch {
	case status >= 300 && status < 400:
		is(engine.Failed, reasonRedirect, "Give the workspace's own host; redirects are never followed.")
		if to, err := response.Location(); err == nil {
			p.Detail += " to " + engine.SafeText(to.Host)
			if strings.Contains(to.RawQuery, "private-link-validation-error") {
				p.Hint = "The workspace is reached through Private Link only: run from within its network."
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
	case status == http.StatusNotFound && (code == "FEATURE_DISABLED" || says("feature is not available")):
		is(engine.Disabled, reasonFeatureDisabled, "Personal access tokens or their permissions are off in this workspace, or its plan is below Premium.")
	case status == http.StatusNotFound && path == grantsPath && p.absent() && noPermissions.MatchString(message):
		is(engine.NotInitialised, reasonNotInitialised, "The workspace has had no token yet: its permissions appear with the first one.")
	case status == http.StatusNotFound:
		is(engine.Failed, reasonNotFound, "Check that the host is that of a workspace, not of an account.")
	case status == http.StatusTooManyRequests, strings.Contains(code+message, "REQUEST_LIMIT_EXCEEDED"):
		is(engine.Failed, reasonRateLimited, "Run it again later, or read fewer workspaces at once.")
		again()
	case status == 500, status == 502, status == 503, status == 504:
		is(engine.Failed, reasonServerError, "Run it again later; if it persists, ask Databricks support.")
		again()
	default:
		is(engine.Failed, reasonUnexpected, "Look at the message; if it does not help, ask Databricks support.")
	}
	if said := strings.TrimSpace(code + " " + message); said != "" && !strings.HasPrefix(strings.TrimSpace(message), "<") {
		p.Detail += ": " + c.scrub.excerpt(said)
	}
	return p
}

// absent reports whether the answer says that what was asked for does not exist.
func (p *Problem) absent() bool { return p.Code == "RESOURCE_DOES_NOT_EXIST" || p.Code == "NOT_FOUND" }

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
	joined := tally{map[string]int{}, slices.Concat(t.examples, other.examples), slices.Concat(t.notes, other.notes)}
	maps.Copy(joined.counts, t.counts)
	for reason, n := range other.counts {
		joined.counts[reason] += n
	}
	return joined
}

// gravest orders reasons: rows that are not there before values that are not.
var gravest = []string{reasonPermission, reasonUnknownLevel, reasonMissingID, reasonDuplicateID, reasonDuplicateKey, reasonBadType, reasonBadTimestamp, reasonContradictory, reasonMissing}

// coverage is complete when nothing was added.
func (t *tally) coverage(rows int) engine.Coverage {
	c := engine.Coverage{Status: engine.Complete, Count: rows, Detail: strings.Join(t.notes, "; ")}
	if len(t.counts) == 0 {
		return c
	}
	var counted []string
	for _, reason := range gravest {
		if n := t.counts[reason]; n > 0 {
			c.Reason = cmp.Or(c.Reason, reason)
			counted = append(counted, fmt.Sprintf("%s %d", reason, n))
		}
	}
	c.Status = engine.Partial
	c.Detail = fmt.Sprintf("among %d rows: %s; first: %s", rows, strings.Join(counted, ", "), strings.Join(slices.Concat(t.examples, t.notes), "; "))
	c.Hint = "What could not be read counts as unknown; compare the rows with the workspace's own list."
	return c
}
