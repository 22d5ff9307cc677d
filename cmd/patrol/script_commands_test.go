package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"patrol/engine/store"

	"github.com/emersion/go-smtp"
	pq "github.com/parquet-go/parquet-go"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/xuri/excelize/v2"
)

// digests DATABASE FILE writes workspace and whole digest of each snapshot of
// a database, sorted.
func cmdDigests(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: digests DATABASE FILE")
	}
	db, err := store.Open(context.Background(), ts.MkAbs(args[0]), store.Options{Mode: store.ReadOnly, Now: time.Now})
	ts.Check(err)
	snapshots, err := db.Snapshots(context.Background())
	ts.Check(err)
	ts.Check(db.Close())
	var lines []string
	for _, s := range snapshots {
		lines = append(lines, fmt.Sprintln(s.Workspace.Name, s.Digest))
	}
	slices.Sort(lines)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(lines, "")), 0o600))
}

// parquet DIR COLUMN… prints these columns of each row of each file below a directory.
func cmdParquet(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: parquet DIR COLUMN…")
	}
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return printParquet(ts, []byte(ts.ReadFile(path)), args[1:])
	}))
}

func printParquet(ts *testscript.TestScript, text []byte, columns []string) error {
	file, err := pq.OpenFile(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return err
	}
	rows := make([]map[string]any, file.NumRows())
	for i := range rows {
		rows[i] = map[string]any{}
	}
	if n, err := pq.NewGenericReader[map[string]any](file, file.Schema()).Read(rows); n != len(rows) {
		return fmt.Errorf("read %d of %d rows: %w", n, len(rows), err)
	}
	for _, row := range rows {
		var cells []string
		for _, column := range columns {
			cells = append(cells, fmt.Sprint(row[column]))
		}
		fmt.Fprintln(ts.Stdout(), strings.Join(cells, " "))
	}
	return nil
}

// receiver FILE listens on loopback and appends what it is sent to FILE, a line
// for each message. $RECEIVER is its address; below /broken it answers with 502,
// below /no with 403, below /teams with 202, and elsewhere with ok.
func cmdReceiver(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: receiver FILE")
	}
	var mu sync.Mutex
	path := ts.MkAbs(args[0])
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		out, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = fmt.Fprintf(out, "%s %s %s\n", r.URL.Path, r.Header.Get("webhook-signature"), body)
			_ = out.Close()
		}
		switch {
		case err != nil:
			w.WriteHeader(http.StatusInternalServerError)
		case strings.HasPrefix(r.URL.Path, "/broken"):
			w.WriteHeader(http.StatusBadGateway)
		case strings.HasPrefix(r.URL.Path, "/no"):
			w.WriteHeader(http.StatusForbidden)
		case strings.HasPrefix(r.URL.Path, "/teams"):
			w.WriteHeader(http.StatusAccepted)
		default:
			_, _ = io.WriteString(w, "ok")
		}
	}))
	ts.Defer(server.Close)
	ts.Setenv("RECEIVER", server.URL)
}

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

// decide FILE ROW DECISION [COMMENT] fills in a row of a reviewers' workbook.
func cmdDecide(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || neg {
		ts.Fatalf("usage: decide FILE ROW DECISION [COMMENT]")
	}
	fillIn(ts, args[0], "Steps", args[1], args[2:])
}
