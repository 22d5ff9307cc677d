package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// bigID is the smallest number that a float64 rounds once it is odd: ids above
// it tell clients that decode into floats.
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
	a.directory = newDirectory()
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
	return c.dir.add(&principal{id: c.newID(), name: name, display: display, active: true})
}

func (c *caster) service(display string) *principal {
	return c.dir.add(&principal{id: c.newID(), name: uuid(c.rng), display: display, active: true, service: true})
}

// peopleOf fills the directory. Its size follows the number of tokens, but the
// special roles are always there.
func peopleOf(a *Account, rng *rand.Rand) *people {
	c := &caster{dir: a.directory, rng: rng}
	cast := &people{}
	cast.castRoles(c)
	for _, display := range namesakes() {
		cast.active = append(cast.active, c.user(fmt.Sprintf("user%03d@example.com", len(cast.active)+1), display))
	}
	cast.direct = cast.active[2]
	cast.castCrowd(c, a.opts.Tokens)
	castServices(c, cast, a)
	castGroups(c, cast)
	return cast
}

func (cast *people) castRoles(c *caster) {
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
		p.active = false
		cast.inactive = append(cast.inactive, p)
	}
}

// namesakes are display names that are hard on tables, terminals and quoting.
func namesakes() []string {
	return []string{
		"User 001", "Zoë O'Brien 🚀", "מ. משתמש", "مستخدم تجريبي", `Pat "Quotes", Jr.; Sr.`, "=1+1 Formula", "用户 七",
	}
}

// castCrowd adds ordinary people: a quarter as many as tokens.
func (cast *people) castCrowd(c *caster, tokens int) {
	for i := range tokens/4 + 12 {
		number := len(cast.active) + 1
		p := c.user(fmt.Sprintf("user%03d@example.com", number+len(cast.inactive)-2), fmt.Sprintf("User %03d", number+len(cast.inactive)-2))
		switch {
		case i%24 == 23:
			p.active = false
			cast.inactive = append(cast.inactive, p)
			continue
		case i%512 == 511:
			cast.busy = append(cast.busy, p)
		}
		cast.active = append(cast.active, p)
	}
	for i := range tokens/100 + 1 {
		cast.departed = append(cast.departed, &principal{id: c.newID(), name: fmt.Sprintf("former%02d@example.com", i+1)})
	}
}

func castServices(c *caster, cast *people, a *Account) {
	auditor := c.service("account-auditor")
	auditor.accountAdmin, auditor.secret = true, "dose"+hexString(c.rng, 16)
	c.dir.auditor = auditor
	for _, name := range []string{"etl-runner", "ci-deployer", `dbt "nightly"; job`, "bi-gateway 📊"} {
		cast.services = append(cast.services, c.service(name))
	}
	retired := c.service("retired-loader")
	retired.active = false
	for i := range a.opts.Tokens / 40 {
		cast.services = append(cast.services, c.service(fmt.Sprintf("service-%03d", i+1)))
	}
}

// castGroups nests platform-admins, and break-glass inside it; every workspace
// puts platform-admins into its admins.
func castGroups(c *caster, cast *people) {
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
}

// place says where a workspace is and how it is called.
func place(i int) (name, cloud, region, env string) {
	clouds := [][2]string{{"azure", "westeurope"}, {"aws", "eu-central-1"}, {"gcp", "europe-west3"}}
	cloud, region = clouds[i%3][0], clouds[i%3][1]
	switch i {
	case 0:
		return "prod-analytics", cloud, region, "prod"
	case 1:
		return "dev-sandbox", cloud, region, "dev"
	}
	return fmt.Sprintf("workspace-%02d", i+1), cloud, region, "test"
}

func newWorkspace(a *Account, i int, cast *people) *workspace {
	name, cloud, region, env := place(i)
	rng := stream(a.opts.Seed, "workspace "+name)
	ws := &workspace{
		name: name, cloud: cloud, region: region, id: workspaceID(rng, i),
		labels:  map[string]string{"env": env, "cloud": cloud},
		created: a.born.AddDate(-3, 0, -i).UnixMilli(),
		admin:   cast.admin, viewer: cast.viewer,
		adminToken: "dapi" + hexString(rng, 16), viewerToken: "dapi" + hexString(rng, 16),
		outside: map[int64]bool{cast.elsewhere.id: true},
	}
	ws.deployment = deploymentName(ws, i)
	c := &caster{dir: a.directory, rng: rng, next: int64(1<<20 + 16*i)}
	ws.client = c.service(name + "-automation")
	ws.client.secret = "dose" + hexString(rng, 16)
	ws.admins = &group{id: c.newID(), name: "admins"}
	ws.users = &group{id: c.newID(), name: "users"}
	for _, p := range []*principal{cast.admin, ws.client, a.directory.auditor, cast.active[0]} {
		ws.admins.add(p)
	}
	ws.admins.nest(a.directory.group("platform-admins"))
	furnish(ws, i, cast)
	if i%5 == 4 && a.opts.Tokens == 0 { // there never was a token
		ws.grantState = GrantsNotInitialised
	}
	fillTokens(a, ws, cast, rng)
	return ws
}

// workspaceID is above 2^53 for every other workspace, the first included.
func workspaceID(rng *rand.Rand, i int) int64 {
	if i%2 == 0 {
		return bigID + rng.Int64N(1<<50)*2 + 1
	}
	return 1e15 + rng.Int64N(7e15)
}

func deploymentName(ws *workspace, i int) string {
	switch ws.cloud {
	case "azure":
		return fmt.Sprintf("adb-%d.%d", ws.id, i+3)
	case "gcp":
		return fmt.Sprintf("%d.%d", ws.id, i+3)
	}
	sum := sha256.Sum256([]byte(ws.name))
	return "dbc-" + hex.EncodeToString(sum[:4]) + "-" + hex.EncodeToString(sum[4:6])
}

// furnish gives a workspace its settings: production is lax on purpose, the
// sandbox is strict, the others vary.
func furnish(ws *workspace, i int, cast *people) {
	ws.grantState = GrantsInitialised
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
			{UserName: cast.direct.name, Level: CanUse},
		}
		ws.restrict = restrictSetting{status: RestrictTokensAndJobRuns, version: 4}
		ws.ipLists = []ipList{
			{IPList{"office", "ALLOW", []string{"192.0.2.0/24", "198.51.100.7"}, true}, "00000000-0000-4000-8000-0000000000a1", ws.created, cast.admin.id},
			{IPList{"old vpn", "BLOCK", []string{"203.0.113.0/25"}, false}, "00000000-0000-4000-8000-0000000000b1", ws.created, cast.admin.id},
		}
	default:
		furnishOther(ws, i)
	}
}

func furnishOther(ws *workspace, i int) {
	ws.conf = map[string]string{"maxTokenLifetimeDays": []string{"0", "365", "30"}[i%3], "enableIpAccessLists": "false"}
	ws.grants = []Grant{{GroupName: []string{"users", "data-engineers"}[i%2], Level: CanUse}}
	ws.restrict = restrictSetting{status: []string{AllowAll, RestrictTokensAndJobRuns}[i%2], version: i}
}

func tokenIDOf(value string) tokenID { return sha256.Sum256([]byte(value)) }

func repeatTo(unit string, size int) string { return strings.Repeat(unit, size/len(unit)+1)[:size] }
