package simulator_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"patrol/collectors/simulator"
)

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// serve calls the handler without a network.
func serve(a *simulator.Account, method, path, bearer string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, nil)
	req.Header.Set("Authorization", "Bearer "+bearer)
	w := httptest.NewRecorder()
	a.ServeHTTP(w, req)
	return w
}

// everything is all that an account answers, for comparison.
func everything(a *simulator.Account) string {
	var b strings.Builder
	b.WriteString(a.ConfigFile("http://127.0.0.1:1"))
	for _, ws := range a.Workspaces() {
		for _, path := range []string{tokensPath, aclPath, rwaPath, scimPath + "/Users", scimPath + "/ServicePrincipals", scimPath + "/Groups"} {
			b.WriteString(serve(a, "GET", path, ws.Token).Body.String())
		}
	}
	return b.String()
}

func TestPopulationIsDeterministic(t *testing.T) {
	opts := simulator.Options{Seed: 5, Tokens: 100, Now: frozen}
	first := everything(simulator.New(opts))
	if everything(simulator.New(opts)) != first {
		t.Error("same options, other account")
	}
	opts.Seed++
	if everything(simulator.New(opts)) == first {
		t.Error("the seed changes nothing")
	}
}

func TestPopulationHasEveryKind(t *testing.T) {
	want := []string{
		"autoscope-backfilled", "autoscope-completed", "autoscope-disabled", "autoscope-not-covered", "autoscope-running",
		"caller", "contractor-owner", "deactivated-owner", "deep-nested-admin-owner", "departed-owner", "empty-comment",
		"endless", "expired", "expiring-soon", "expiry-cliff", "healthy", "issued-365-ten-days-left", "lifetime-365",
		"lifetime-730", "lifetime-90-and-30s", "lifetime-90-exactly", "nested-admin-owner", "never-used-old",
		"never-used-young", "on-behalf-of", "owner-outside-workspace", "owner-with-many-tokens", "rotation-leftover",
		"rotation-successor", "scope-authentication", "scoped", "secret-in-comment", "service-principal",
		"unused-over-90-days", "viewer",
	}
	for _, tokens := range []int{40, 41, 60, 1000} {
		a := simulator.New(simulator.Options{Seed: 3, Workspaces: 3, Tokens: tokens, Now: frozen})
		for _, ws := range a.Workspaces() {
			kinds := a.Kinds(ws.Name)
			total := 0
			for _, n := range kinds {
				total += n
			}
			if total != tokens {
				t.Errorf("%d tokens in %s, want %d", total, ws.Name, tokens)
			}
			for _, kind := range want {
				if kinds[kind] == 0 {
					t.Errorf("%d tokens: no %q in %s", tokens, kind, ws.Name)
				}
			}
			if len(kinds) != len(want) {
				t.Errorf("%d kinds, want %d", len(kinds), len(want))
			}
		}
	}
}

func TestPopulationGrowsInOrder(t *testing.T) {
	kindsOf := func(tokens int) []string {
		a := simulator.New(simulator.Options{Tokens: tokens, Now: frozen})
		var kinds []string
		for _, tok := range a.Tokens("prod-analytics") {
			kinds = append(kinds, tok.Kind)
		}
		return kinds
	}
	full := kindsOf(40)
	for _, n := range []int{0, 1, 5, 39} {
		if got := kindsOf(n); !slices.Equal(got, full[:n]) {
			t.Errorf("%d tokens: %v", n, got)
		}
	}
}

func TestPopulationLifetimes(t *testing.T) {
	const day = 24 * 60 * 60 * 1000
	w := newWorld(t, func(o *simulator.Options) { o.Tokens = 3000 })
	now := noon.UnixMilli()
	checks := map[string]func(simulator.Token) bool{
		"endless":                  func(k simulator.Token) bool { return k.ExpiryTime == -1 },
		"expired":                  func(k simulator.Token) bool { return k.ExpiryTime < now },
		"lifetime-365":             func(k simulator.Token) bool { return k.ExpiryTime-k.CreationTime == 365*day },
		"lifetime-90-exactly":      func(k simulator.Token) bool { return k.ExpiryTime-k.CreationTime == 90*day },
		"lifetime-90-and-30s":      func(k simulator.Token) bool { return k.ExpiryTime-k.CreationTime == 90*day+30_000 },
		"issued-365-ten-days-left": func(k simulator.Token) bool { left := k.ExpiryTime - now; return left > 9*day && left <= 10*day },
		"expiring-soon":            func(k simulator.Token) bool { left := k.ExpiryTime - now; return left > 2*day && left <= 3*day },
		"never-used-old":           func(k simulator.Token) bool { return k.LastUsedDay == 0 && now-k.CreationTime > 30*day },
		"never-used-young":         func(k simulator.Token) bool { return k.LastUsedDay == 0 && now-k.CreationTime < 7*day },
		"unused-over-90-days":      func(k simulator.Token) bool { return now-k.LastUsedDay > 90*day && k.ExpiryTime > now },
		"on-behalf-of":             func(k simulator.Token) bool { return k.OwnerID != k.CreatedByID },
		"healthy":                  func(k simulator.Token) bool { return now-k.LastUsedDay < 4*day && k.ExpiryTime-now >= 14*day },
		"expiry-cliff":             func(k simulator.Token) bool { return k.ExpiryTime/day == now/day+21 },
		"scope-authentication":     func(k simulator.Token) bool { return slices.Contains(k.Scopes, "authentication") },
	}
	for _, tok := range w.Tokens("prod-analytics") {
		if check := checks[tok.Kind]; check != nil && !check(tok) {
			t.Errorf("%s: token %s", tok.Kind, tok.ID)
		}
		if tok.LastUsedDay%day != 0 {
			t.Errorf("last used at %d", tok.LastUsedDay)
		}
		if tok.CreationTime >= now {
			t.Errorf("%s: created in the future", tok.Kind)
		}
	}
}

func TestPopulationRelations(t *testing.T) {
	w := newWorld(t, func(o *simulator.Options) { o.Tokens = 400 })
	tokens := w.Tokens("prod-analytics")
	known := map[int64]simulator.User{}
	big := 0
	for _, u := range w.Users() {
		known[u.ID] = u
		if u.ID > 1<<53 {
			big++
		}
	}
	if big == 0 || big == len(known) || w.ws[0].ID <= 1<<53 || w.ws[1].ID >= 1<<53 {
		t.Errorf("%d of %d ids above 2^53", big, len(known))
	}
	for i, tok := range tokens {
		_, there := known[tok.OwnerID]
		switch tok.Kind {
		case "departed-owner":
			if there {
				t.Errorf("departed owner %d is known", tok.OwnerID)
			}
		case "deactivated-owner":
			if known[tok.OwnerID].Active {
				t.Errorf("deactivated owner %d is active", tok.OwnerID)
			}
		case "rotation-successor":
			if old := tokens[i-1]; old.OwnerID != tok.OwnerID || old.Comment != tok.Comment || old.LastUsedDay >= tok.LastUsedDay {
				t.Errorf("rotation %s then %s", old.ID, tok.ID)
			}
		case "contractor-owner":
			if !strings.HasSuffix(known[tok.OwnerID].Name, "@example.net") {
				t.Errorf("contractor %q", known[tok.OwnerID].Name)
			}
		}
	}
	id := strconv.FormatInt(w.firstToken(0, "owner-outside-workspace").OwnerID, 10)
	w.wantError(w.as(0, "GET", scimPath+"/Users/"+id, ""), 404, "", "not found")
	account := "/api/2.0/accounts/" + w.ID() + "/scim/v2/Users/" + id
	w.wantError(w.do("GET", account, w.oauth(w.Credentials()), ""), 200, "moved.on@example.com", "")
}

func TestPopulationComments(t *testing.T) {
	w := newWorld(t, func(o *simulator.Options) { o.Tokens = 40 })
	r := w.as(0, "GET", tokensPath, "")
	if !strings.Contains(r.body, `left\u0000over`) || !strings.Contains(r.body, `\u001b[31m`) || !strings.Contains(r.body, "<script>") {
		t.Error("control characters are not escaped as the service does, or HTML is")
	}
	var doc struct {
		Tokens []struct {
			Comment string `json:"comment"`
		} `json:"token_infos"`
	}
	if err := json.Unmarshal([]byte(r.body), &doc); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	longest := 0
	for _, tok := range doc.Tokens {
		all.WriteString(tok.Comment + "\n")
		longest = max(longest, len(tok.Comment))
	}
	for _, want := range []string{
		"=HYPERLINK(", "+cmd|", "@SUM(", "<script>alert(1)</script>", "\x1b[31m", "\x1b]8;;", "\u202E", "\x00", "_x000D_",
		"\r\n", "\t", "🔥", `"quotes",commas;semicolons`, "OPS-1234 nightly load",
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no comment with %q", want)
		}
	}
	if longest != 64<<10 {
		t.Errorf("longest comment has %d bytes", longest)
	}
	if !regexp.MustCompile(`dapi[0-9a-f]{32}`).MatchString(all.String()) {
		t.Error("no comment with a secret")
	}
}

func TestPopulationStaysWithinTheQuota(t *testing.T) {
	a := simulator.New(simulator.Options{Workspaces: 1, Tokens: 100_000, Now: frozen})
	held := map[int64]int{}
	for _, tok := range a.Tokens("prod-analytics") {
		held[tok.OwnerID]++
	}
	for id, n := range held {
		if n > 600 {
			t.Errorf("owner %d holds %d tokens", id, n)
		}
	}
}

func TestPopulationOfManyTokens(t *testing.T) {
	const many = 200_000
	a := simulator.New(simulator.Options{Workspaces: 1, Tokens: many, Now: frozen})
	r := serve(a, "GET", tokensPath, a.Workspaces()[0].Token)
	if n := strings.Count(r.Body.String(), `"token_id"`); n != many {
		t.Errorf("%d rows", n)
	}
}

// BenchmarkMillion is the size that the simulator is meant to reach: seconds to
// generate, and a list that is sent as it is made.
func BenchmarkMillion(b *testing.B) {
	opts := simulator.Options{Workspaces: 1, Tokens: 1_000_000, Now: frozen}
	b.Run("generate", func(b *testing.B) {
		for b.Loop() {
			simulator.New(opts)
		}
	})
	a := simulator.New(opts)
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			req := httptest.NewRequest("GET", tokensPath, nil)
			req.Header.Set("Authorization", "Bearer x")
			a.ServeHTTP(discard{http.Header{}}, req)
		}
	})
}

// discard is a ResponseWriter to nowhere.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
