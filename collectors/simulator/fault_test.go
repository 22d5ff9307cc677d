package simulator_test

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"patrol/collectors/simulator"
)

func TestFaultAnswers(t *testing.T) {
	tests := []struct {
		name   string
		fault  simulator.Fault
		status int
		want   string
	}{
		{"status alone", simulator.Fault{Status: 503}, 503, "TEMPORARILY_UNAVAILABLE"},
		{"status and body", simulator.Fault{Status: 500, Body: "<html>oops</html>", Headers: map[string]string{"Content-Type": "text/html"}}, 500, "<html>oops</html>"},
		{"body alone", simulator.Fault{Body: `{}`}, 200, "{}"},
		{"headers alone", simulator.Fault{Headers: map[string]string{"Date": "Mon, 01 Jan 2024 00:00:00 GMT"}}, 200, "token_infos"},
		{"redirect", simulator.Fault{Status: 307, Headers: map[string]string{"Location": "/elsewhere"}}, 307, ""},
		{"throttled as 500 by SCIM text", simulator.Fault{Status: 500, Body: "REQUEST_LIMIT_EXCEEDED"}, 500, "REQUEST_LIMIT_EXCEEDED"},
		{"clean truncation", simulator.Fault{Truncate: 20, Chunked: true}, 200, `{"token_infos":[{"to`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.AddFault(tt.fault)
			r := w.as(0, "GET", tokensPath, "")
			w.wantError(r, tt.status, tt.want, "")
			for name, value := range tt.fault.Headers {
				if r.header.Get(name) != value {
					t.Errorf("%s: %q", name, r.header.Get(name))
				}
			}
			if last := w.Requests(); !last[0].Fault || last[0].Status != tt.status {
				t.Errorf("recorded %+v", last[0])
			}
		})
	}
}

func TestFaultSCIMErrorsSpeakSCIM(t *testing.T) {
	w := newWorld(t)
	w.AddFault(simulator.Fault{Path: scimPath, Status: 500})
	w.wantError(w.as(0, "GET", scimPath+"/Users", ""), 500, "urn:ietf:params:scim:api:messages:2.0:Error", `"status":"500"`)
}

func TestFaultMatching(t *testing.T) {
	id := strings.Repeat("a", 64)
	tests := []struct {
		name  string
		fault simulator.Fault
		hit   bool
	}{
		{"any", simulator.Fault{}, true},
		{"method", simulator.Fault{Method: "delete"}, false},
		{"prefix", simulator.Fault{Path: tokensPath}, true},
		{"whole path", simulator.Fault{Path: tokensPath + "$"}, false},
		{"glob", simulator.Fault{Path: "/api/*/tokens/*"}, true},
		{"glob to the end", simulator.Fault{Path: "/api/*/tokens/" + id + "$"}, true},
		{"glob without match", simulator.Fault{Path: "/api/*/users/*"}, false},
		{"workspace name", simulator.Fault{Workspace: "prod-analytics"}, true},
		{"other workspace", simulator.Fault{Workspace: "dev-sandbox"}, false},
		{"query", simulator.Fault{Query: "b=2"}, true},
		{"other query", simulator.Fault{Query: "b=3"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.fault.Status = 418
			w.AddFault(tt.fault)
			r := w.as(0, "GET", tokensPath+"/"+id+"?a=1&b=2", "")
			if (r.status == 418) != tt.hit {
				t.Errorf("status %d", r.status)
			}
		})
	}
}

func TestFaultSkipAndTimes(t *testing.T) {
	w := newWorld(t)
	w.AddFault(simulator.Fault{Path: tokensPath, Status: 429, Headers: map[string]string{"Retry-After": "7"}, Skip: 1, Times: 2})
	w.AddFault(simulator.Fault{Path: tokensPath, Status: 502, Skip: 2, Times: 1})
	var got []int
	for range 6 {
		got = append(got, w.as(0, "GET", tokensPath, "").status)
	}
	// The second fault counts only calls that the first lets pass.
	want := []int{200, 429, 429, 200, 502, 200}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("statuses %v, want %v", got, want)
		}
	}
	w.AddFault(simulator.Fault{Status: 500})
	w.ClearFaults()
	if r := w.as(0, "GET", tokensPath, ""); r.status != 200 || len(w.Faults()) != 0 {
		t.Errorf("after clearing: %d", r.status)
	}
}

func TestFaultEffect(t *testing.T) {
	tests := []struct {
		name   string
		fault  simulator.Fault
		status int // 0: the connection breaks
		gone   bool
	}{
		{"fails first", simulator.Fault{Status: 503}, 503, false},
		{"acts, then fails", simulator.Fault{Status: 503, After: true}, 503, true},
		{"reset before", simulator.Fault{Reset: true}, 0, false},
		{"reset after", simulator.Fault{Reset: true, After: true}, 0, true},
		{"says done without doing", simulator.Fault{Status: 200, Body: "{}"}, 200, false},
		{"acts, answer cut", simulator.Fault{Truncate: 1}, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			id := w.firstToken(0, "endless").ID
			tt.fault.Method = "DELETE"
			w.AddFault(tt.fault)
			r, err := w.try("DELETE", tokensPath+"/"+id, w.ws[0].Token, "")
			if tt.status == 0 && err == nil || tt.status != 0 && (err != nil || r.status != tt.status) {
				t.Errorf("got %d, %v", r.status, err)
			}
			if _, there := w.Token(w.ws[0].Name, id); there == tt.gone {
				t.Errorf("token there: %v", there)
			}
			if n := len(w.Writes()); n != 1 {
				t.Errorf("%d writes", n)
			}
		})
	}
}

func TestFaultBrokenConnections(t *testing.T) {
	tests := []struct {
		name  string
		fault simulator.Fault
		want  error
	}{
		{"cut under a Content-Length", simulator.Fault{Truncate: 500}, io.ErrUnexpectedEOF},
		{"reset amid the body", simulator.Fault{Truncate: 500, Reset: true}, nil},
		{"reset amid a chunked body", simulator.Fault{Truncate: 500, Reset: true, Chunked: true}, nil},
		{"reset at once", simulator.Fault{Reset: true}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.AddFault(tt.fault)
			r, err := w.try("GET", tokensPath, w.ws[0].Token, "")
			if tt.want != nil && !errors.Is(err, tt.want) || err == nil {
				t.Errorf("error %v after %d bytes", err, len(r.body))
			}
			if tt.want == nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestClearingFaultsEndsDelays: the call goes on, and has its effect.
func TestClearingFaultsEndsDelays(t *testing.T) {
	w := newWorld(t)
	w.AddFault(simulator.Fault{Path: tokensPath, Delay: time.Hour})
	answered := make(chan int, 1)
	go func() {
		r, _ := w.try("GET", tokensPath, w.ws[0].Token, "")
		answered <- r.status
	}()
	for len(w.Requests()) == 0 { // it has arrived
		time.Sleep(time.Millisecond)
	}
	w.ClearFaults()
	select {
	case status := <-answered:
		if status != 200 {
			t.Errorf("answered %d", status)
		}
	case <-time.After(time.Minute):
		t.Error("the call is still held up")
	}
}

func TestFaultDelayAndLatency(t *testing.T) {
	w := newWorld(t, func(o *simulator.Options) { o.Latency = 20 * time.Millisecond })
	w.AddFault(simulator.Fault{Delay: 30 * time.Millisecond})
	start := time.Now()
	if r := w.as(0, "GET", tokensPath, ""); r.status != 200 || !strings.Contains(r.body, "token_infos") {
		t.Errorf("a delay alone changes nothing: %d", r.status)
	}
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("took %v", took)
	}
}
