package notice

import (
	"bytes"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"

	"patrol/engine"
)

// Mail renders a message as a draft that mail programs open ready to send. It
// returns nothing for an owner without an address. The date is that of the
// judgement, so that the same plan gives the same bytes; the program that sends
// the draft sets its own.
func (m Message) Mail(asOf time.Time) []byte {
	if m.Address == "" {
		return nil
	}
	var b bytes.Buffer
	to := mail.Address{Address: m.Address}
	for _, header := range [][2]string{
		{"To", to.String()},
		{"Subject", mime.QEncoding.Encode("utf-8", engine.SafeText(m.Subject))},
		{"Date", asOf.UTC().Format(time.RFC1123Z)},
		{"X-Unsent", "1"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", header[0], header[1])
	}
	b.WriteString("\r\n")
	body := quotedprintable.NewWriter(&b)
	// A buffer takes every write.
	_, _ = body.Write([]byte(strings.ReplaceAll(m.Body, "\n", "\r\n")))
	_ = body.Close()
	return b.Bytes()
}
