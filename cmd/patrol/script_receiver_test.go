package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

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
