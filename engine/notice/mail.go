package notice

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
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
	m.writeText(parts)
	m.writeBook(parts, workbook)
	_ = parts.Close()
	return b.Bytes()
}

func (m Message) writeText(parts *multipart.Writer) {
	w, _ := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {"text/plain; charset=utf-8"},
		"Content-Transfer-Encoding": {"quoted-printable"},
	})
	body := quotedprintable.NewWriter(w)
	_, _ = body.Write([]byte(strings.ReplaceAll(m.Body, "\n", "\r\n")))
	_ = body.Close()
}

const base64Line = 76 // RFC 2045

func (m Message) writeBook(parts *multipart.Writer, workbook []byte) {
	w, _ := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {bookType},
		"Content-Transfer-Encoding": {"base64"},
		"Content-Disposition":       {mime.FormatMediaType("attachment", map[string]string{"filename": "reply.xlsx"})},
	})
	text := base64.StdEncoding.EncodeToString(workbook)
	for ; len(text) > base64Line; text = text[base64Line:] {
		fmt.Fprintf(w, "%s\r\n", text[:base64Line])
	}
	fmt.Fprintf(w, "%s\r\n", text)
}
