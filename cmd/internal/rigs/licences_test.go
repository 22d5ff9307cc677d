package rigs

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"patrol/engine"

	"github.com/google/licensecheck"
)

// allowedLicences are those under which a binary may hold a module: permissive
// ones, and MPL-2.0, which reaches no further than its own files.
func allowedLicences() []string {
	return []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MPL-2.0", "Unlicense", "Zlib"}
}

// TestLicences reads the licence of every module that a binary is built of.
// `make licences` prints what it found.
func TestLicences(t *testing.T) {
	t.Parallel()
	modules := linkedModules(t)
	if len(modules) < 20 {
		t.Fatalf("%d modules only: the list is not whole", len(modules))
	}
	for _, name := range engine.SortedKeys(modules) {
		licences := licencesIn(t, modules[name])
		t.Logf("%-60s %s", name, strings.Join(licences, ", "))
		if why := refuseLicences(licences); why != "" {
			t.Errorf("%s (%s): %s", name, modules[name], why)
		}
	}
}

func TestLicencesAreToldApart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := "GNU GENERAL PUBLIC LICENSE Version 3\nSPDX-License-Identifier: GPL-3.0-only\n"
	if err := os.WriteFile(filepath.Join(dir, "COPYING"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if why := refuseLicences(licencesIn(t, dir)); why == "" {
		t.Error("the GPL is let through")
	}
	if why := refuseLicences(licencesIn(t, t.TempDir())); why == "" {
		t.Error("a module without a licence is let through")
	}
}

// refuseLicences tells why a module with these licences may not be linked.
func refuseLicences(found []string) string {
	if len(found) == 0 {
		return "no licence was recognised"
	}
	for _, licence := range found {
		if !slices.Contains(allowedLicences(), licence) {
			return licence + " is not allowed"
		}
	}
	return ""
}

// linkedModules are the modules of all packages in the binaries of a release,
// on whatever system, with their directories.
func linkedModules(t *testing.T) map[string]string {
	t.Helper()
	modules := map[string]string{}
	for _, system := range release(t).Builds[0].Goos {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=Module", "patrol/cmd/patrol")
		cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list for %s: %v", system, err)
		}
		for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
			var p struct {
				Module *struct {
					Path, Dir string
					Main      bool
				}
			}
			if err := decoder.Decode(&p); err != nil {
				t.Fatal(err)
			}
			if p.Module != nil && !p.Module.Main {
				modules[p.Module.Path] = p.Module.Dir
			}
		}
	}
	return modules
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([.-].*)?$`)

// licencesIn names the licences whose texts make up most of a licence file.
func licencesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		if entry.IsDir() || !licenceFile.MatchString(entry.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range licensecheck.Scan(text).Match {
			found = append(found, match.ID)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
