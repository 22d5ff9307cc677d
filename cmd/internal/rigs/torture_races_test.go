package rigs

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"patrol/engine/enginetest"
)

// TestRaces lets two to four processes apply the same plan at once. One
// proceeds, and the others are told that it does, or that it did: each approved
// token gets one request, and no other any.
//
// PATROLTEST_TORTURE_RACES sets the number of races; `make torture` asks for 500.
func TestRaces(t *testing.T) {
	t.Parallel()
	binary := patrolBinary(t)
	random := rand.New(rand.NewPCG(1, enginetest.Seed(t)))
	appliers, held, late := 0, 0, 0
	for race := range countOf(t, "PATROLTEST_TORTURE_RACES", 4) {
		r := &torture{T: t, binary: binary, dir: filepath.Join(t.TempDir(), strconv.Itoa(race)), random: random, tally: &tortureTally{}}
		codes := r.race(2 + random.IntN(3))
		appliers += len(codes)
		for _, code := range codes {
			switch code {
			case exitStorage:
				held++ // by the lock
			case exitRefused:
				late++ // after the other had ended
			}
		}
		if t.Failed() {
			return
		}
		_ = os.RemoveAll(r.dir)
	}
	t.Logf("%d appliers: %d found another at work, %d came when it was done", appliers, held, late)
}

// countOf is how often a test repeats: few, unless the environment says more.
func countOf(t *testing.T, variable string, few int) int {
	text := os.Getenv(variable)
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// race starts appliers at once and returns how each ended.
func (r *torture) race(appliers int) []int {
	server := r.prepare()
	defer server.Close()
	codes := make([]int, appliers)
	var all sync.WaitGroup
	for i := range codes {
		all.Go(func() {
			cmd := exec.Command(r.binary, "apply", "plan.json", "--profile", r.workspace.Profile, "--yes", "--rate", "1000", "-q")
			cmd.Dir = r.dir
			cmd.Env = append(os.Environ(), "DATABRICKS_CONFIG_FILE="+filepath.Join(r.dir, "cfg"), "HOME="+r.dir)
			output, _ := cmd.CombinedOutput()
			if codes[i] = cmd.ProcessState.ExitCode(); !slices.Contains([]int{exitOK, exitPartial, exitRefused, exitStorage}, codes[i]) {
				r.Errorf("exit %d: %s", codes[i], output)
			}
		})
	}
	all.Wait()
	r.checkRace(codes)
	return codes
}

func (r *torture) checkRace(codes []int) {
	won := 0
	for _, code := range codes {
		if code == exitOK || code == exitPartial {
			won++
		}
	}
	if won != 1 {
		r.Errorf("%s: %d of the appliers proceeded: exits %v", r.dir, won, codes)
	}
	requests := map[string]int{}
	for _, request := range r.account.Writes() {
		if request.Method == http.MethodDelete {
			requests[filepath.Base(request.Path)]++
		}
	}
	for id := range r.planned {
		want := 0
		if r.approved[id] {
			want = 1
		}
		if requests[id] != want {
			r.Errorf("%s: %s", r.dir, fmt.Sprintf("token %s got %d requests, want %d", id, requests[id], want))
		}
	}
}
