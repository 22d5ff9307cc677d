package notice

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"patrol/engine"
)

const bookType = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

// Mail renders a message, with the workbook in which its owner answers, as a
// draft that mail programs open ready to send. It returns nothing for an owner
// without an address. The date is that of the judgement, so that the same plan
// gives the same bytes; the program that sends the draft sets its own.
func (m Message) Mail(asOf time.Time, workbook []byte) []byte {
	if m.Address == "" {
		return nil
	}
	var b bytes.Buffer
	parts := multipart.NewWriter(&b)
	// The digest of the content cannot stand in the content.
	_ = parts.SetBoundary("patrol-" + engine.TextDigest(m.Body + string(workbook))[:32])
	to := mail.Address{Address: m.Address}
	for _, header := range [][2]string{
		{"To", to.String()},
		{"Subject", mime.QEncoding.Encode("utf-8", engine.SafeText(m.Subject))},
		{"Date", asOf.UTC().Format(time.RFC1123Z)},
		{"X-Unsent", "1"},
		{"MIME-Version", "1.0"},
		{"Content-Type", mime.FormatMediaType("multipart/mixed", map[string]string{"boundary": parts.Boundary()})},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", header[0], header[1])
	}
	b.WriteString("\r\n")
	// A buffer takes every write.
	text, _ := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {"text/plain; charset=utf-8"},
		"Content-Transfer-Encoding": {"quoted-printable"},
	})
	body := quotedprintable.NewWriter(text)
	_, _ = body.Write([]byte(strings.ReplaceAll(m.Body, "\n", "\r\n")))
	_ = body.Close()
	book, _ := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {bookType},
		"Content-Transfer-Encoding": {"base64"},
		"Content-Disposition":       {mime.FormatMediaType("attachment", map[string]string{"filename": "reply.xlsx"})},
	})
	const lineLength = 76 // RFC 2045
	for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(workbook)), lineLength) {
		fmt.Fprintf(book, "%s\r\n", line)
	}
	_ = parts.Close()
	return b.Bytes()
}

// How a mail server is spoken to.
const (
	StartTLS = "starttls"
	TLS      = "tls"
	Plain    = "none" // to a server on this machine only
)

// Server is a mail server that takes in messages.
type Server struct {
	Address  string // host:port
	Security string // StartTLS, TLS or Plain
	From     string // address
	Username string // "" signs nobody in
	Password string
	Roots    *x509.CertPool // nil: those of the system
}

// sendDeadline bounds a conversation about one message.
const sendDeadline = 60 * time.Second

// Check refuses a server that cannot be used, or whose lines others could read.
func (s Server) Check() error {
	host, _, err := net.SplitHostPort(s.Address)
	if err != nil {
		return fmt.Errorf("server %q: want host:port", s.Address)
	}
	from, err := mail.ParseAddress(s.From)
	if err != nil || from.Address != s.From {
		return fmt.Errorf("from %q: want a mail address", s.From)
	}
	if ip := net.ParseIP(host); s.Security == Plain && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("security none would send names and tokens of people readable through the network to %s", host)
	}
	return nil
}

// RejectedError tells that the message was surely not sent: the server said no,
// or was never asked.
type RejectedError struct{ Err error }

func (e *RejectedError) Error() string { return e.Err.Error() }
func (e *RejectedError) Unwrap() error { return e.Err }

// Send hands one message over; begun is called right before. After any error but
// a *RejectedError it is not known whether it was sent. The context bounds it.
func (s Server) Send(ctx context.Context, to string, content []byte, begun func() error) error {
	ctx, cancel := context.WithTimeout(ctx, sendDeadline)
	defer cancel()
	host, _, _ := net.SplitHostPort(s.Address) // Check has seen it
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: s.Roots}
	dial := (&net.Dialer{}).DialContext
	if s.Security == TLS {
		dial = (&tls.Dialer{Config: config}).DialContext
	}
	conn, err := dial(ctx, "tcp", s.Address)
	if err != nil {
		return &RejectedError{err}
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	client, err := s.greet(conn, host, config)
	if err != nil {
		return &RejectedError{err}
	}
	if err := errors.Join(client.Mail(s.From), client.Rcpt(to)); err != nil {
		return &RejectedError{err}
	}
	if err := begun(); err != nil {
		return &RejectedError{err}
	}
	w, err := client.Data()
	if err != nil {
		return &RejectedError{err}
	}
	if _, err := w.Write(content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		// An answer of the server is told from a line that broke.
		if broken := net.Error(nil); errors.As(err, &broken) || errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "EOF") {
			return err
		}
		return &RejectedError{err}
	}
	_ = client.Quit() // it was taken in, whatever the server says now
	return nil
}

func (s Server) greet(conn net.Conn, host string, config *tls.Config) (*smtp.Client, error) {
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		return nil, err
	}
	if s.Security == StartTLS {
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return nil, errors.New("it does not offer STARTTLS")
		}
		if err := client.StartTLS(config); err != nil {
			return nil, err
		}
	}
	if s.Username == "" {
		return client, nil
	}
	return client, client.Auth(smtp.PlainAuth("", s.Username, s.Password, host))
}

// Draft is a message to be sent.
type Draft struct {
	To      string
	ID      string // Message-ID, the same whenever the same draft is sent
	Content []byte
}

// FromFile makes a message of a draft that Mail rendered and that somebody may
// have edited: with a sender, the time of sending and an id, and one recipient.
func FromFile(content []byte, from string, now time.Time) (Draft, error) {
	read, err := mail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		return Draft{}, fmt.Errorf("read mail: %w", err)
	}
	to, err := read.Header.AddressList("To")
	if err != nil || len(to) != 1 {
		return Draft{}, errors.New("want one address under To")
	}
	for _, other := range []string{"Cc", "Bcc", "From"} {
		if read.Header.Get(other) != "" {
			return Draft{}, fmt.Errorf("has %s, which patrol does not send", other)
		}
	}
	_, domain, _ := strings.Cut(from, "@")
	d := Draft{To: to[0].Address, ID: "<" + engine.TextDigest(string(content))[:32] + "@" + domain + ">"}
	// Lines end as mail wants it, whatever an editor made of them.
	lines := strings.NewReplacer("\r\n", "\r\n", "\n", "\r\n").Replace(string(content))
	header, body, _ := strings.Cut(lines, "\r\n\r\n")
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: <%s>\r\nDate: %s\r\nMessage-ID: %s\r\n", from, now.UTC().Format(time.RFC1123Z), d.ID)
	drop := false // a header, with the lines that continue it
	for line := range strings.Lines(header + "\r\n") {
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := strings.Cut(line, ":")
			drop = slices.ContainsFunc([]string{"Date", "X-Unsent", "Message-ID"}, func(own string) bool { return strings.EqualFold(own, name) })
		}
		if !drop {
			b.WriteString(line)
		}
	}
	b.WriteString("\r\n" + body)
	d.Content = b.Bytes()
	return d, nil
}
