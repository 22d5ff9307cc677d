package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// serve starts a simulated account in a process of its own (a child that this one
// starts is told to have peaked no lower than this one did), with the profile of
// the account alone, and returns its configuration file and address.
func (b *bench) serve(ctx context.Context, args ...string) (config, address string, stop func(), err error) {
	config = b.sides[0].path("account-" + fmt.Sprint(time.Now().UnixNano()))
	cmd := exec.CommandContext(ctx, b.sides[0].binary, append([]string{"simulate", "--listen", "127.0.0.1:0", "--write-config", config}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		return "", "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // it ends by the signal
	}
	for range 600 {
		text, err := os.ReadFile(config)
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		_, account, found := strings.Cut(string(text), "[account]")
		account, _, _ = strings.Cut(account, "[")
		_, host, _ := strings.Cut(account, "host")
		host, _, _ = strings.Cut(strings.TrimLeft(host, " ="), "\n")
		if !found || host == "" {
			err = errors.New("the account's configuration has no profile for the account")
		} else {
			err = os.WriteFile(config, []byte("[account]"+account), 0o600)
		}
		if err != nil {
			stop()
		}
		return config, host, stop, err
	}
	stop()
	return "", "", nil, errors.New("the simulated account does not start")
}

// collect are the arguments that read the account into a database.
func collect(config, command, db string, more ...string) job {
	return job{
		args: append([]string{command, "--account", "account", "--db", db, "-q"}, more...), fresh: db,
		env: []string{"DATABRICKS_CONFIG_FILE=" + config}, found: []int{4},
	}
}

// steps measures each step of an audit of one workspace, the audit in one go, and
// what evaluation cannot go below.
func (b *bench) steps(ctx context.Context) error {
	config, _, stop, err := b.serve(ctx, "--workspaces", "1", "--tokens", fmt.Sprint(b.tokens))
	if err != nil {
		return err
	}
	defer stop()
	judged := func(command string) job { return job{args: append(strings.Fields(command), "-q"), found: []int{1, 4}} }
	forecast := job{args: strings.Fields("forecast --days 90 --format csv -q"), output: "out"}
	costs, err := b.table(ctx, fmt.Sprintf("%d tokens, all policies", b.tokens), []step{
		{"start, policies compiled", job{args: []string{"policies", "list"}}},
		{"collect", collect(config, "collect", "patrol.db")},
		{"evaluate", judged("evaluate --fail-on none")},
		{"evaluate --no-prefilter", judged("evaluate --fail-on none --no-prefilter")},
		{"report csv", judged("report --format csv")},
		{"report json", judged("report --format json")},
		{"report xlsx", judged("report --format xlsx")},
		{"report html", judged("report --format html")},
		{"forecast of 90 days", forecast},
		{"audit, default formats", collect(config, "audit", "audit.db", "--fail-on", "none")},
	})
	if err != nil {
		return err
	}
	floor, err := b.floors(ctx)
	if err != nil {
		return err
	}
	wall, _, _ := costs["evaluate"].over(floor)
	b.goal("evaluate, all policies, over both floors", wall, 1.7)
	_, cpu, _ := costs["forecast of 90 days"].over(costs["evaluate"])
	b.goal("forecast of 90 days over evaluate, processor time", cpu, 3)
	return nil
}

// floors are what no engine on this database can go below, measured within this
// process: to read every token, and to write the findings that came of it,
// without looking at either. It returns both together.
func (b *bench) floors(ctx context.Context) (both cost, err error) {
	db, err := sql.Open("sqlite", "file:"+b.sides[0].path("patrol.db")+"?mode=ro")
	if err != nil {
		return both, err
	}
	defer func() { _ = db.Close() }()
	var table string
	if err := db.QueryRowContext(ctx, `SELECT sql FROM sqlite_schema WHERE name = 'finding'`).Scan(&table); err != nil {
		return both, err
	}
	read := func() error {
		rows, err := db.QueryContext(ctx, `SELECT v.*, u.day, u.ms FROM token_version v LEFT JOIN token_use u ON u.token_key = v.token_key
			AND u.since = (SELECT max(w.since) FROM token_use w WHERE w.token_key = v.token_key) WHERE v.until IS NULL ORDER BY v.token_id`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
		}
		return rows.Err()
	}
	write := func() error {
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
		for _, statement := range []string{table, "ATTACH '" + b.sides[0].path("patrol.db") + "' AS judged",
			"INSERT INTO finding SELECT * FROM judged.finding WHERE evaluation_id = (SELECT max(id) FROM judged.evaluation)"} {
			if _, err := copied.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	}
	for _, part := range []struct {
		name string
		work func() error
	}{{"floor: bare SQL scan", read}, {"floor: writing the findings", write}} {
		var best cost
		for i := range b.runs {
			before, begin := usedCPU(), time.Now()
			if err := part.work(); err != nil {
				return both, fmt.Errorf("%s: %w", part.name, err)
			}
			if c := (cost{wall: time.Since(begin), cpu: usedCPU() - before}); i == 0 || c.wall < best.wall {
				best = c
			}
		}
		best.print(part.name)
		fmt.Println()
		both.wall, both.cpu = both.wall+best.wall, both.cpu+best.cpu
	}
	return both, nil
}

// fleet measures the same commands on 300 workspaces of 50 tokens and on one of
// 15,000: cost should follow tokens.
func (b *bench) fleet(ctx context.Context) error {
	const workspaces, tokens = 300, 50
	var one map[string]cost
	for _, size := range [][2]int{{1, workspaces * tokens}, {workspaces, tokens}} {
		config, _, stop, err := b.serve(ctx, "--workspaces", fmt.Sprint(size[0]), "--tokens", fmt.Sprint(size[1]))
		if err != nil {
			return err
		}
		defer stop()
		db := fmt.Sprintf("fleet%d.db", size[0])
		again := collect(config, "collect", db)
		again.fresh = "" // diffs need two
		stored := func(command string) job {
			return job{args: append(strings.Fields(command), "--db", db, "-q"), output: "out", found: []int{1, 4}}
		}
		offline := []step{
			{"evaluate", stored("evaluate --fail-on none")},
			{"forecast of 30 days", stored("forecast --days 30 --format csv")},
			{"tokens", stored("tokens --format csv")},
			{"snapshots diff", stored("snapshots diff --format csv")},
			{"snapshots verify", stored("snapshots verify")},
			{"plan", stored("plan -o plan.json")},
			{"report csv", stored("report --format csv")},
			{"report json", stored("report --format json")},
			{"report xlsx", stored("report --format xlsx")},
			{"report html", stored("report --format html")},
		}
		costs, err := b.table(ctx, fmt.Sprintf("%d workspaces of %d tokens", size[0], size[1]),
			append([]step{{"collect", collect(config, "collect", db)}, {"collect again", again}}, offline...))
		if err != nil {
			return err
		}
		if one == nil {
			one = costs
			continue
		}
		for _, s := range offline {
			_, cpu, _ := costs[s.name].over(one[s.name])
			b.goal(s.name+" of 300 workspaces over one of as many tokens, processor time", cpu, 1.5)
		}
	}
	return nil
}

// account measures reading an account whose every answer takes a while and which
// has the platform's limit of calls: many workspaces at once, and one after the other.
func (b *bench) account(ctx context.Context) error {
	const workspaces, tokens, latency, parallel = 200, 500, "50ms", 64
	config, address, stop, err := b.serve(ctx, "--workspaces", fmt.Sprint(workspaces), "--tokens", fmt.Sprint(tokens), "--latency", latency, "--rate-limit", "40")
	if err != nil {
		return err
	}
	defer stop()
	if _, err := b.sides[0].measure(ctx, collect(config, "collect", "account.db")); err != nil { // it makes its tokens at the first call
		return err
	}
	atOnce := fmt.Sprintf("collect, %d at once", parallel)
	costs, err := b.table(ctx, fmt.Sprintf("account: %d x %d tokens, %s", workspaces, tokens, latency), []step{
		{atOnce, collect(config, "collect", "account.db", "--parallel", fmt.Sprint(parallel))},
		{"collect, 1 at once", collect(config, "collect", "account.db", "--parallel", "1")},
	})
	if err != nil {
		return err
	}
	wall, _, _ := costs["collect, 1 at once"].over(costs[atOnce])
	fmt.Printf("\nReading %d at once is %.1f times as fast as one after the other.\n", parallel, wall)
	// A call that is refused for its rate is made again, and counted again.
	text, err := get(ctx, address+"/_sim/requests?path=/none")
	if err != nil {
		return err
	}
	var told struct {
		Counts map[string]int `json:"counts"`
	}
	if err := json.Unmarshal(text, &told); err != nil {
		return err
	}
	lists := workspaces * (1 + 2*b.runs*len(b.sides))
	if n := told.Counts["GET /api/2.0/token-management/tokens"]; n < lists || n > lists*21/20 {
		return fmt.Errorf("%d calls for %d lists of tokens: some were refused, or not made", n, lists)
	}
	return nil
}
