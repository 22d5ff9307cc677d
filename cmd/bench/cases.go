package main

import (
	"bufio"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// account is a simulated account in a process of its own.
type account struct {
	address string
	config  string // file with the profile of the account, and of nothing else
	stop    func()
}

func (b *bench) simulate(ctx context.Context, workspaces, tokens int, more ...string) (a account, err error) {
	a.config = b.sides[0].path(fmt.Sprintf("account-%d-%d", workspaces, tokens))
	args := []string{"simulate", "--listen", "127.0.0.1:0", "--write-config", a.config, "--workspaces", fmt.Sprint(workspaces), "--tokens", fmt.Sprint(tokens)}
	cmd := exec.CommandContext(ctx, b.sides[0].binary, append(args, more...)...)
	var said strings.Builder
	cmd.Cancel, cmd.Stderr = func() error { return cmd.Process.Signal(os.Interrupt) }, &said
	says, err := cmd.StdoutPipe()
	if err != nil {
		return a, err
	}
	if err := cmd.Start(); err != nil {
		return a, err
	}
	a.stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // it ends by the signal
	}
	for lines := bufio.NewScanner(says); lines.Scan() && !strings.HasPrefix(lines.Text(), "ready"); {
		if address, found := strings.CutPrefix(lines.Text(), "simulated account at "); found {
			a.address = address
		}
	}
	text, err := os.ReadFile(a.config)
	_, profile, found := strings.Cut(string(text), "[account]")
	profile, _, _ = strings.Cut(profile, "[")
	if err == nil && (!found || a.address == "") {
		err = errors.New("it does not start, or has no profile for the account")
	}
	if err = cmp.Or(err, os.WriteFile(a.config, []byte("[account]"+profile), 0o600)); err != nil {
		a.stop()
		return a, fmt.Errorf("simulated account: %w\n%s", err, said.String())
	}
	return a, nil
}

// reads is a command that reads the account into a database, which it makes anew.
func (a account) reads(name, command, db string, more ...string) step {
	return step{
		name: name, args: append([]string{command, "--account", "account", "--db", db, "-q"}, more...),
		env: []string{"DATABRICKS_CONFIG_FILE=" + a.config}, found: []int{4}, fresh: db,
	}
}

// offline is a command on a database.
func offline(name, db, command string) step {
	return step{name: name, args: append(strings.Fields(command), "--db", db, "-q"), output: "out", found: []int{1, 4}}
}

// one measures each step of an audit of one workspace, the audit in one go, and
// what evaluation cannot go below.
func (b *bench) one(ctx context.Context, tokens int) error {
	account, err := b.simulate(ctx, 1, tokens)
	if err != nil {
		return err
	}
	defer account.stop()
	const db = "patrol.db"
	steps := []step{
		{name: "start, policies compiled", args: []string{"policies", "list"}},
		account.reads("collect", "collect", db),
		offline("evaluate", db, "evaluate --fail-on none"),
		offline("report csv", db, "report --format csv"),
		offline("report json", db, "report --format json"),
		offline("report xlsx", db, "report --format xlsx"),
		offline("report html", db, "report --format html"),
		offline("forecast of 90 days", db, "forecast --days 90 --format csv"),
		account.reads("audit, default formats", "audit", "audit.db", "--fail-on", "none"),
	}
	if tokens <= 100_000 {
		steps = append(steps, offline("evaluate --no-prefilter", db, "evaluate --fail-on none --no-prefilter"))
	}
	costs, err := b.table(ctx, fmt.Sprintf("%d tokens, all policies", tokens), steps)
	if err != nil {
		return err
	}
	floors, err := b.floors(ctx, db)
	if err != nil {
		return err
	}
	evaluate, audit := costs["evaluate"][0], costs["audit, default formats"]
	of := fmt.Sprintf(" of %d tokens", tokens)
	b.timeGoal("evaluate"+of+" over both floors", evaluate, floors, "≤", 1.7)
	b.goal("forecast of 90 days"+of+" over evaluate", "processor time", costs["forecast of 90 days"][0].cpu.Seconds()/evaluate.cpu.Seconds(), "≤", 3)
	if tokens >= 1_000_000 {
		b.memoryGoal("audit"+of+", in units of 300 MB", audit[0], cost{peak: 300e6}, "≤", 1)
	}
	if len(audit) > 1 {
		b.goal("audit"+of+" over that of "+b.sides[1].name, "wall time", audit[0].wall.Seconds()/audit[1].wall.Seconds(), "≤", 0.5)
		b.goal("audit"+of+" over that of "+b.sides[1].name, "processor time", audit[0].cpu.Seconds()/audit[1].cpu.Seconds(), "≤", 0.5)
	}
	return nil
}

// floors are what no engine on this database can go below, measured within this
// process: to read every token, and to write the findings that came of it,
// without looking at either. It returns both together.
func (b *bench) floors(ctx context.Context, name string) (both cost, err error) {
	db, err := sql.Open("sqlite", "file:"+b.sides[0].path(name)+"?mode=ro")
	if err != nil {
		return both, err
	}
	defer func() { _ = db.Close() }()
	var table string
	if err := db.QueryRowContext(ctx, `SELECT sql FROM sqlite_schema WHERE name = 'finding'`).Scan(&table); err != nil {
		return both, err
	}
	measure := func(name string, work func() error) error {
		var best cost
		for range max(b.runs, 1) {
			begin := time.Now()
			before, _ := own()
			if err := work(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			after, _ := own()
			if wall := time.Since(begin); best.wall == 0 || wall < best.wall {
				best = cost{wall: wall, cpu: after - before}
			}
		}
		best.print(name)
		fmt.Println()
		both.wall, both.cpu = both.wall+best.wall, both.cpu+best.cpu
		return nil
	}
	err = measure("floor: bare SQL scan", func() error {
		rows, err := db.QueryContext(ctx, `SELECT v.*, u.day, u.ms FROM token_version v LEFT JOIN token_use u ON u.token_key = v.token_key
			AND u.since = (SELECT max(w.since) FROM token_use w WHERE w.token_key = v.token_key) WHERE v.until IS NULL ORDER BY v.token_id`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
		}
		return rows.Err()
	})
	if err != nil {
		return both, err
	}
	err = measure("floor: writing the findings", func() error {
		file := b.sides[0].path("floor.db")
		if err := errors.Join(os.RemoveAll(file), os.RemoveAll(file+"-wal"), os.RemoveAll(file+"-shm")); err != nil {
			return err
		}
		copied, err := sql.Open("sqlite", "file:"+file+"?_journal_mode=WAL&_synchronous=FULL")
		if err != nil {
			return err
		}
		defer func() { _ = copied.Close() }()
		copied.SetMaxOpenConns(1) // what is attached is attached to one
		for _, statement := range []string{table, "ATTACH '" + b.sides[0].path(name) + "' AS judged",
			"INSERT INTO finding SELECT * FROM judged.finding WHERE evaluation_id = (SELECT max(id) FROM judged.evaluation)"} {
			if _, err := copied.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	return both, err
}

// fleet is a size of account: workspaces, and tokens in each.
type fleet struct{ workspaces, tokens int }

// fleets measures the same commands on two fleets. The second may cost so many
// times what the first does.
func (b *bench) fleets(ctx context.Context, first, second fleet, limit float64) error {
	costs := map[fleet]map[string][]cost{}
	var steps []step
	for _, size := range []fleet{first, second} {
		account, err := b.simulate(ctx, size.workspaces, size.tokens)
		if err != nil {
			return err
		}
		defer account.stop()
		db := fmt.Sprintf("fleet-%d.db", size.workspaces)
		again := account.reads("collect again", "collect", db)
		again.fresh = "" // diffs need two
		steps = []step{
			offline("evaluate", db, "evaluate --fail-on none"),
			offline("forecast of 30 days", db, "forecast --days 30 --format csv"),
			offline("tokens", db, "tokens --format csv"),
			offline("snapshots diff", db, "snapshots diff --format csv"),
			offline("snapshots verify", db, "snapshots verify"),
			offline("plan", db, "plan -o plan.json"),
			offline("report csv", db, "report --format csv"),
			offline("report json", db, "report --format json"),
			offline("report xlsx", db, "report --format xlsx"),
			offline("report html", db, "report --format html"),
		}
		header := fmt.Sprintf("%d workspaces of %d tokens", size.workspaces, size.tokens)
		costs[size], err = b.table(ctx, header, append([]step{account.reads("collect", "collect", db), again}, steps...))
		if err != nil {
			return err
		}
		account.stop()
	}
	for _, s := range steps {
		what := fmt.Sprintf("%s, %d × %d over %d × %d", s.name, second.workspaces, second.tokens, first.workspaces, first.tokens)
		b.timeGoal(what, costs[second][s.name][0], costs[first][s.name][0], "≤", limit)
	}
	return nil
}

// account measures reading an account whose every answer takes a while and which
// has the platform's limit of calls: many workspaces at once, and one after the other.
func (b *bench) account(ctx context.Context) error {
	const workspaces, tokens, latency, parallel, db = 200, 500, "50ms", "64", "account.db"
	account, err := b.simulate(ctx, workspaces, tokens, "--latency", latency, "--rate-limit", "40")
	if err != nil {
		return err
	}
	defer account.stop()
	costs, err := b.table(ctx, fmt.Sprintf("account: %d x %d tokens, %s", workspaces, tokens, latency), []step{
		account.reads("collect, many at once", "collect", db, "--parallel", parallel),
		account.reads("collect, 1 at once", "collect", db, "--parallel", "1"),
	})
	if err != nil {
		return err
	}
	fmt.Printf("\nReading %s at once is %.1f times as fast as one after the other.\n", parallel,
		costs["collect, 1 at once"][0].wall.Seconds()/costs["collect, many at once"][0].wall.Seconds())
	return nil
}
