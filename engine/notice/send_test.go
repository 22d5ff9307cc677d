package notice_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"patrol/engine"
	"patrol/engine/notice"
)

// mailbox is a mail server on loopback that keeps what it takes in.
type mailbox struct {
	server *smtp.Server
	addr   string
	pool   *x509.CertPool
	signed string // who signed in

	from, to string
	content  []byte
	fails    bool // breaks the line while a message comes in
}

func newMailbox(t *testing.T, secure string) *mailbox {
	t.Helper()
	m := &mailbox{}
	certificate := selfSigned(t, m)
	m.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &box{m, c}, nil }))
	m.server.ErrorLog = quiet{}
	m.server.AllowInsecureAuth = secure == notice.Plain
	if secure == notice.StartTLS {
		m.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.addr = listener.Addr().String()
	if secure == notice.TLS {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}})
	}
	go func() { _ = m.server.Serve(listener) }()
	t.Cleanup(func() { _ = m.server.Close() })
	return m
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func selfSigned(t *testing.T, m *mailbox) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	m.pool = x509.NewCertPool()
	m.pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// box is a conversation with the mailbox.
type box struct {
	*mailbox
	conn *smtp.Conn
}

func (b *box) Reset()        {}
func (b *box) Logout() error { return nil }

func (b *box) AuthMechanisms() []string { return []string{sasl.Plain} }

func (b *box) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if password != "right" {
			return smtp.ErrAuthFailed
		}
		b.signed = username
		return nil
	}), nil
}

func (b *box) Mail(from string, _ *smtp.MailOptions) error { b.from = from; return nil }

func (b *box) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, Message: "no such user"}
	}
	b.to = to
	return nil
}

func (b *box) Data(r io.Reader) (err error) {
	if b.fails {
		return b.conn.Conn().Close()
	}
	b.content, err = io.ReadAll(r)
	return err
}

func (m *mailbox) as(security string) notice.Server {
	return notice.Server{Address: m.addr, Security: security, From: "patrol@example.com", Roots: m.pool}
}

func begun() error { return nil }

func TestSend(t *testing.T) {
	t.Parallel()
	for _, security := range []string{notice.StartTLS, notice.TLS, notice.Plain} {
		t.Run(security, func(t *testing.T) {
			m := newMailbox(t, security)
			s := m.as(security)
			s.Username, s.Password = "patrol", "right"
			if err := s.Send(t.Context(), "ana@example.com", []byte("Subject: x\r\n\r\nbody\r\n"), begun); err != nil {
				t.Fatal(err)
			}
			if m.from != s.From || m.to != "ana@example.com" || m.signed != "patrol" || !strings.Contains(string(m.content), "body") {
				t.Errorf("got from %q to %q as %q: %q", m.from, m.to, m.signed, m.content)
			}
		})
	}
}

func TestWhatIsNotSent(t *testing.T) {
	t.Parallel()
	stop := errors.New("no room")
	for name, tc := range map[string]struct {
		server   string // how it is run
		client   string // how it is asked
		change   func(*notice.Server, *mailbox)
		to       string
		begun    func() error
		rejected bool // it is sure that nothing was sent
	}{
		"no such user":         {notice.Plain, notice.Plain, nil, "nobody@example.com", begun, true},
		"wrong password":       {notice.TLS, notice.TLS, func(s *notice.Server, _ *mailbox) { s.Username, s.Password = "patrol", "wrong" }, "ana@example.com", begun, true},
		"unknown authority":    {notice.TLS, notice.TLS, func(s *notice.Server, _ *mailbox) { s.Roots = x509.NewCertPool() }, "ana@example.com", begun, true},
		"no STARTTLS":          {notice.Plain, notice.StartTLS, nil, "ana@example.com", begun, true},
		"record not written":   {notice.Plain, notice.Plain, nil, "ana@example.com", func() error { return stop }, true},
		"line breaks in DATA":  {notice.Plain, notice.Plain, func(_ *notice.Server, m *mailbox) { m.fails = true }, "ana@example.com", begun, false},
		"address with a break": {notice.Plain, notice.Plain, nil, "a@example.com>\r\nRCPT TO:<b@example.com", begun, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMailbox(t, tc.server)
			s := m.as(tc.client)
			if tc.change != nil {
				tc.change(&s, m)
			}
			err := s.Send(t.Context(), tc.to, []byte("Subject: x\r\n\r\nbody\r\n"), tc.begun)
			var rejected *notice.RejectedError
			if err == nil || errors.As(err, &rejected) != tc.rejected || m.content != nil {
				t.Errorf("error %v, received %q", err, m.content)
			}
		})
	}
	if err := (notice.Server{Address: "127.0.0.1:1", Security: notice.Plain}).Send(cancelled(t), "a@example.com", nil, begun); err == nil {
		t.Error("sent after the end")
	}
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestServersThatAreRefused(t *testing.T) {
	t.Parallel()
	good := notice.Server{Address: "mail.example.com:587", Security: notice.StartTLS, From: "patrol@example.com"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*notice.Server){
		"no port":      func(s *notice.Server) { s.Address = "mail.example.com" },
		"name as from": func(s *notice.Server) { s.From = "Patrol <patrol@example.com>" },
		"readable":     func(s *notice.Server) { s.Security = notice.Plain },
	} {
		s := good
		if change(&s); s.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDraftBecomesMessage(t *testing.T) {
	t.Parallel()
	m := messages(t, planOf(step(engine.Notify, "ana@example.com", "t1", today)))[0]
	file := m.Mail(asOf, book)
	now := asOf.Add(time.Hour)
	first, err := notice.FromFile(file, "patrol@example.com", now)
	if err != nil {
		t.Fatal(err)
	}
	edited, err := notice.FromFile(bytes.ReplaceAll(file, []byte("\r\n"), []byte("\n")), "patrol@example.com", now)
	if err != nil {
		t.Fatal(err)
	}
	if first.To != "ana@example.com" || first.ID == edited.ID || !bytes.HasSuffix(first.Content, []byte("--\r\n")) {
		t.Errorf("to %q, ids %s and %s", first.To, first.ID, edited.ID)
	}
	read, err := mail.ReadMessage(bytes.NewReader(edited.Content))
	if err != nil {
		t.Fatal(err)
	}
	h := read.Header
	if h.Get("X-Unsent") != "" || h.Get("From") != "<patrol@example.com>" || h.Get("Date") != now.Format(time.RFC1123Z) || len(h["Date"]) != 1 || h.Get("Subject") == "" {
		t.Errorf("headers %v", h)
	}
	for _, bad := range []string{"", "To: a@example.com, b@example.com\r\n\r\nx", "To: a@example.com\r\nBcc: b@example.com\r\n\r\nx", "Subject: x\r\n\r\nx"} {
		if _, err := notice.FromFile([]byte(bad), "patrol@example.com", now); err == nil {
			t.Errorf("%q became a message", bad)
		}
	}
}
