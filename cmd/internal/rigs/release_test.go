package rigs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// releaseFile is what the tests look at of .goreleaser.yaml.
type releaseFile struct {
	Before struct{ Hooks []string }
	Builds []struct {
		Env     []string
		Flags   []string
		Ldflags []string
		Goos    []string
		Goarch  []string
	}
	Archives []struct {
		BuildsInfo packed `yaml:"builds_info"`
		Files      []struct {
			Src  string
			Info packed
		}
	}
	Sboms []struct{ Args []string }
}

// packed is how a file lies in an archive.
type packed struct {
	Owner, Group, Mtime string
	Mode                int
}

func release(t *testing.T) releaseFile {
	t.Helper()
	var r releaseFile
	if err := yaml.Unmarshal([]byte(read(t, ".goreleaser.yaml")), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Builds) != 1 || len(r.Archives) != 1 || len(r.Sboms) != 1 {
		t.Fatalf("not the file that this test knows: %+v", r)
	}
	return r
}

// TestReleaseIsBuiltAsEverywhere: with the flags of `make build`, of the
// container and of `make reproducible`, so that each gives the same bytes.
func TestReleaseIsBuiltAsEverywhere(t *testing.T) {
	t.Parallel()
	build := release(t).Builds[0]
	flags := strings.Join(build.Flags, " ")
	if flags != "-trimpath -buildvcs=false" || !slices.Equal(build.Env, []string{"CGO_ENABLED=0"}) {
		t.Errorf("built with %s, %v", flags, build.Env)
	}
	ldflags, hasVersion := strings.CutSuffix(strings.Join(build.Ldflags, " "), "{{ .Version }}")
	makefile, container := read(t, "Makefile"), read(t, "Dockerfile")
	for name, line := range map[string]string{
		"Makefile":         "CGO_ENABLED=0 $(GO) build " + flags + " -ldflags '$(LDFLAGS)'",
		"Makefile's flags": "LDFLAGS := " + ldflags + "$(VERSION)\n",
		"Dockerfile":       "CGO_ENABLED=0 go build " + flags + ` -ldflags "` + ldflags + `${VERSION}"`,
		".ci/reproducible": "CGO_ENABLED=0 GOFLAGS= $GO build " + flags + ` -ldflags "$LDFLAGS"`,
	} {
		text := map[string]string{"Dockerfile": container, ".ci/reproducible": read(t, ".ci/reproducible")}[name]
		if text == "" {
			text = makefile
		}
		if !hasVersion || !strings.Contains(text, line) {
			t.Errorf("%s does not have %q", name, line)
		}
	}
	if module := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, "go.mod")); !strings.Contains(container, "GO_IMAGE=golang:"+module[1]+"\n") {
		t.Errorf("the container is not built by Go %s", module[1])
	}
	if args := release(t).Sboms[0].Args; !slices.Contains(args, "../.ci/sbom") || !strings.Contains(makefile, "sh .ci/sbom ") {
		t.Errorf("the release's SBOM is not that of `make sbom`: %v", args)
	}
}

// TestReleaseIsCheckedOnEachSystem: `make platforms` knows what is built.
func TestReleaseIsCheckedOnEachSystem(t *testing.T) {
	t.Parallel()
	build := release(t).Builds[0]
	targets := regexp.MustCompile(`PATROLTEST_SYSTEMS='([^']*)'`).FindStringSubmatch(read(t, "Makefile"))
	if targets == nil {
		t.Fatal("make platforms has no list")
	}
	for _, os := range build.Goos {
		if os != "linux" && !strings.Contains(targets[1], os+"/") { // make test runs on Linux
			t.Errorf("%s is released and not checked", os)
		}
	}
	if !slices.Equal(build.Goos, []string{"linux", "darwin", "windows"}) || !slices.Equal(build.Goarch, []string{"amd64", "arm64"}) {
		t.Errorf("docs/ci.md and docs/guarantees.md name other systems than %v, %v", build.Goos, build.Goarch)
	}
}

// TestArchivesLookAlikeWhoeverPacksThem: neither umask nor clock nor account of
// the one who releases shows.
func TestArchivesLookAlikeWhoeverPacksThem(t *testing.T) {
	t.Parallel()
	r := release(t)
	archive := r.Archives[0]
	if hooks := strings.Join(r.Before.Hooks, "\n"); !strings.Contains(hooks, "env SOURCE_DATE_EPOCH={{ .CommitTimestamp }} go run ./cmd/patrol release-files ") {
		t.Errorf("the man pages bear the date of the build: %s", hooks)
	}
	want := packed{"root", "root", "{{ .CommitDate }}", 0o755}
	if archive.BuildsInfo != want {
		t.Errorf("binaries: %+v", archive.BuildsInfo)
	}
	want.Mode = 0o644
	if len(archive.Files) < 5 {
		t.Fatalf("%d files only", len(archive.Files))
	}
	for _, file := range archive.Files {
		if file.Info != want {
			t.Errorf("%s: %+v", file.Src, file.Info)
		}
	}
}
