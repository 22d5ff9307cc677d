package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
	"patrol/reports/table"

	teams "github.com/atc0005/go-teams-notify/v2"
	"github.com/atc0005/go-teams-notify/v2/adaptivecard"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/slack-go/slack"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Receiver is where messages go. Its address and secret come from the
// environment and are in no error.
type Receiver struct {
	Name   string
	Type   string // a key of senders
	URL    string
	Secret string // signs what a webhook gets
}

// senders are the kinds of receivers.
var senders = map[string]func(context.Context, Receiver, Message, *http.Client) error{
	"slack": sendSlack, "teams": sendTeams, "webhook": sendWebhook,
}

// ErrUncertain tells that a message may have arrived all the same.
var ErrUncertain = errors.New("whether it arrived is not known")

// Repeatable tells that a receiver takes the same message twice for one: each
// carries its id.
func (r Receiver) Repeatable() bool { return r.Type == "webhook" }

// Check refuses addresses that a message must not go to.
func (r Receiver) Check() error {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || u.Hostname() == "":
		return errors.New("it holds no address") // the error of url.Parse has it
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return errors.New("it holds no https address")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Send sends a message. It tries again where the message certainly did not
// arrive, and for a webhook, which knows a message by its id, also where it may
// have. Redirects are refused: they would carry the message elsewhere.
func (r Receiver) Send(ctx context.Context, m Message) error {
	err := senders[r.Type](ctx, r, m, r.client())
	if err == nil {
		return nil
	}
	if asked := (*url.Error)(nil); errors.As(err, &asked) {
		err = asked.Err // the rest is the address
	}
	text := err.Error()
	for _, secret := range []string{r.URL, r.Secret} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	shown := errors.New(engine.SafeText(engine.RedactSecrets(text)))
	if certain(err) {
		return shown
	}
	return fmt.Errorf("%w; %w", shown, ErrUncertain)
}

// attempts and waits between them.
const (
	attempts = 4
	waitMin  = 500 * time.Millisecond
	waitMax  = 20 * time.Second
)

// answered is an answer that is no success: the receiver did not take the message.
type answered int

func (a answered) Error() string {
	if a >= 300 && a < 400 {
		return "the receiver redirects, which is not followed: " + strconv.Itoa(int(a))
	}
	return "the receiver answered " + strconv.Itoa(int(a)) + " " + http.StatusText(int(a))
}

// client repeats what may be repeated and turns every answer that is no success
// into an error that holds nothing of it.
func (r Receiver) client() *http.Client {
	retry := retryablehttp.NewClient()
	retry.Logger, retry.RetryMax, retry.RetryWaitMin, retry.RetryWaitMax = nil, attempts-1, waitMin, waitMax
	retry.ErrorHandler = retryablehttp.PassthroughErrorHandler
	retry.HTTPClient.Timeout = 15 * time.Second
	retry.HTTPClient.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	retry.CheckRetry = func(ctx context.Context, answer *http.Response, err error) (bool, error) {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err != nil {
			return r.Repeatable() || certain(err), nil
		}
		return answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusServiceUnavailable ||
			r.Repeatable() && answer.StatusCode >= 500, nil
	}
	return &http.Client{
		Transport:     successes{&retryablehttp.RoundTripper{Client: retry}},
		CheckRedirect: retry.HTTPClient.CheckRedirect,
	}
}

type successes struct{ under http.RoundTripper }

func (s successes) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := s.under.RoundTrip(request)
	if err != nil || answer.StatusCode < 300 {
		return answer, err
	}
	return nil, errors.Join(answered(answer.StatusCode), answer.Body.Close())
}

// certain holds for errors after which a message has certainly not arrived: no
// connection came about, or the receiver refused. A gateway's error or a silence
// says nothing.
func certain(err error) bool {
	if status := answered(0); errors.As(err, &status) {
		return status < 500 || status == http.StatusServiceUnavailable
	}
	op := (*net.OpError)(nil)
	return errors.As(err, &op) && op.Op == "dial"
}

// sendSlack posts to an incoming webhook. All is plain text: what anybody wrote
// is no link, no mention and no formatting.
func sendSlack(ctx context.Context, r Receiver, m Message, client *http.Client) error {
	text := func(s string) *slack.TextBlockObject {
		return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
	}
	var fields []*slack.TextBlockObject
	for _, fact := range m.facts() {
		fields = append(fields, text(fact[0]+": "+fact[1]))
	}
	blocks := []slack.Block{slack.NewHeaderBlock(text(m.title())), slack.NewSectionBlock(nil, fields, nil)}
	for _, line := range m.findings(20) {
		blocks = append(blocks, slack.NewSectionBlock(text(clip(line, 2900)), nil, nil)) // a block holds 3,000 characters
	}
	return slack.PostWebhookCustomHTTPContext(ctx, r.URL, client, &slack.WebhookMessage{Text: m.title(), Blocks: &slack.Blocks{BlockSet: blocks}})
}

// sendTeams posts an Adaptive Card to a workflow of Microsoft Teams.
func sendTeams(ctx context.Context, r Receiver, m Message, client *http.Client) error {
	card := adaptivecard.NewCard()
	facts := adaptivecard.NewFactSet()
	for _, fact := range m.facts() {
		if err := facts.AddFact(adaptivecard.Fact{Title: fact[0], Value: cardText(fact[1])}); err != nil {
			return err
		}
	}
	elements := []adaptivecard.Element{adaptivecard.NewTitleTextBlock(m.title(), true), adaptivecard.Element(facts)}
	for _, line := range m.findings(20) {
		elements = append(elements, adaptivecard.NewTextBlock(cardText(clip(line, 1000)), true))
	}
	if err := card.AddElement(false, elements...); err != nil {
		return err
	}
	message, err := adaptivecard.NewMessageFromCard(card)
	if err != nil {
		return err
	}
	return teams.NewTeamsClient().SetHTTPClient(client).SkipWebhookURLValidationOnSend(true).SendWithContext(ctx, r.URL, message)
}

// cardText escapes what a card would take for Markdown.
func cardText(text string) string {
	var b strings.Builder
	for _, c := range text {
		if strings.ContainsRune("\\`*_[]()<>#~!|", c) {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// sendWebhook posts the message as JSON, signed as https://www.standardwebhooks.com
// says: HMAC-SHA256 over the id, the time and the body.
func sendWebhook(ctx context.Context, r Receiver, m Message, client *http.Client) error {
	body, err := table.JSONText(m)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	now, id := time.Now(), "patrol_"+m.Run
	request.Header.Set(standardwebhooks.HeaderWebhookID, id)
	request.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	if r.Secret != "" {
		signer, err := standardwebhooks.NewWebhookRaw([]byte(r.Secret))
		if err != nil {
			return err
		}
		signature, err := signer.Sign(id, now, body)
		if err != nil {
			return err
		}
		request.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	return answer.Body.Close() // the status said that the message was taken
}

func clip(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
