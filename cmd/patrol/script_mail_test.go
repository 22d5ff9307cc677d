package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/xuri/excelize/v2"
)

// mailserver FILE serves mail on loopback into FILE, a line for each message, and
// writes mail.yaml, the configuration that sends to it. Who begins with bounce@
// is refused.
func cmdMailserver(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: mailserver FILE")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	var mu sync.Mutex
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &mailSession{file: ts.MkAbs(args[0]), mu: &mu}, nil
	}))
	go func() { _ = server.Serve(listener) }()
	ts.Defer(func() { _ = server.Close() })
	text := fmt.Sprintf("notices: {smtp: {server: %q, security: none, from: patrol@example.com}}\n", listener.Addr())
	ts.Check(os.WriteFile(ts.MkAbs("mail.yaml"), []byte(text), 0o600))
}

type mailSession struct {
	file, to string
	mu       *sync.Mutex
}

func (s *mailSession) Reset()                               {}
func (s *mailSession) Logout() error                        { return nil }
func (s *mailSession) Mail(string, *smtp.MailOptions) error { return nil }

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "bounce@") {
		return &smtp.SMTPError{Code: 550, Message: "no such user"}
	}
	s.to = to
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out, err := os.OpenFile(s.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = fmt.Fprintf(out, "%s %d bytes\n", s.to, len(content))
	return err
}

// answer FILE ROW REPLY [COMMENT [UNTIL]] fills in a row of an owner's workbook.
// UNTIL may be so many days from now, such as +60d.
func cmdAnswer(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || neg {
		ts.Fatalf("usage: answer FILE ROW REPLY [COMMENT [UNTIL]]")
	}
	if texts := args[2:]; len(texts) == 3 && strings.HasPrefix(texts[2], "+") {
		texts[2] = time.Now().UTC().Add(distance(ts, texts[2])).Format(time.DateOnly)
	}
	fillIn(ts, args[0], "Tokens", args[1], args[2:])
}

// fillIn writes texts into the columns of a worksheet that are to be filled in.
func fillIn(ts *testscript.TestScript, path, sheet, row string, texts []string) {
	path = ts.MkAbs(path)
	file, err := excelize.OpenFile(path)
	ts.Check(err)
	for i, text := range texts {
		ts.Check(file.SetCellStr(sheet, fmt.Sprintf("%c%s", 'B'+i, row), text))
	}
	ts.Check(file.SaveAs(path))
	ts.Check(file.Close())
}
