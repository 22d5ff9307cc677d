package rigs

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// call is one system call that was recorded.
type call struct {
	name   string
	args   []string // strings as they were, all else as strace writes it
	result int64
	failed bool
}

// unknownResult is that of a call which did not return before the process ended.
const unknownResult = -1 << 62

// tick is when a call began or ended.
type tick struct {
	call  *call
	ended bool
}

// fileCalls are the calls that change files, and those that this could be
// mistaken about.
const fileCalls = "trace=openat,open,creat,close,lseek,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,rename,renameat,renameat2," +
	"link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,fsync,fdatasync,sync_file_range,mkdir,mkdirat,copy_file_range,sendfile,splice,mmap,dup,dup2,dup3,fcntl"

// needTracing skips a test where processes cannot be traced.
func needTracing(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("strace", "-f", "-o", filepath.Join(t.TempDir(), "out"), "true").CombinedOutput(); err != nil {
		t.Skipf("system calls are recorded and made to fail by strace, which does not work here: %v %s", err, bytes.TrimSpace(out))
	}
}

// straced runs patrol under strace.
func (s *site) straced(options []string, args ...string) (code int, output string) {
	s.Helper()
	cmd := exec.Command("strace", append(append(append([]string{"-f", "-qq", "-e", "signal=none"}, options...), s.binary), args...)...)
	return s.run(cmd)
}

// record runs patrol and returns the calls that it made, in order.
func (s *site) record(args ...string) (code int, output string, calls []tick) {
	s.Helper()
	log := filepath.Join(s.TempDir(), "calls")
	code, output = s.straced([]string{"--seccomp-bpf", "-o", log, "-xx", "-s", "16777216", "-e", fileCalls}, args...)
	content, err := os.ReadFile(log)
	s.must(err)
	calls, err = parseCalls(content)
	s.must(err)
	s.must(os.Remove(log))
	return code, output, calls
}

// parseCalls reads what strace wrote. Lines are `PID name(args) = result`, or
// two of them where another thread came between.
func parseCalls(log []byte) (ticks []tick, err error) {
	begun := map[string]*call{} // by thread
	texts := map[*call]string{}
	for n, line := range strings.Split(strings.TrimSuffix(string(log), "\n"), "\n") {
		thread, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "+++") || strings.HasPrefix(text, "---") {
			continue
		}
		c := &call{result: unknownResult}
		switch beginning, unfinished := strings.CutSuffix(text, "<unfinished ...>"); {
		case unfinished:
			begun[thread], texts[c] = c, beginning
			ticks = append(ticks, tick{call: c})
			continue
		case strings.HasPrefix(text, "<... "):
			_, rest, _ := strings.Cut(text, " resumed>")
			c = begun[thread]
			text = texts[c] + rest
			delete(texts, c)
		default:
			ticks = append(ticks, tick{call: c})
		}
		ticks = append(ticks, tick{call: c, ended: true})
		if err := c.parse(text); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return ticks, nil // a call without an end keeps its unknown result
}

func (c *call) parse(text string) (err error) {
	at := strings.LastIndex(text, " = ")
	name, args, ok := strings.Cut(text, "(")
	if at < 0 || !ok {
		return fmt.Errorf("read call %.200q", text)
	}
	result, _, _ := strings.Cut(text[at+3:], " ")
	if result != "?" {
		c.result, err = strconv.ParseInt(result, 0, 64)
	}
	args = strings.TrimSpace(args[:at-len(name)-1])
	c.name, c.failed = name, c.result < 0
	c.args = splitArgs(strings.TrimSuffix(args, ")"))
	for i, arg := range c.args {
		if strings.HasPrefix(arg, `"`) && err == nil {
			c.args[i], err = unhex(arg)
		}
	}
	return err
}

// splitArgs splits at commas outside quotes and brackets.
func splitArgs(text string) (args []string) {
	depth, quoted, from := 0, false, 0
	for i := range len(text) {
		switch text[i] {
		case '"':
			quoted = !quoted
		case '[', '{', '(':
			depth++
		case ']', '}', ')':
			depth--
		case ',':
			if !quoted && depth == 0 {
				args = append(args, strings.TrimSpace(text[from:i]))
				from = i + 1
			}
		}
	}
	return append(args, strings.TrimSpace(text[from:]))
}

// unhex reads a string that strace wrote with -xx.
func unhex(text string) (string, error) {
	inner, whole := strings.CutSuffix(strings.TrimPrefix(text, `"`), `"`)
	if !whole {
		return "", fmt.Errorf("string %.40q… was cut", text)
	}
	decoded, err := hex.DecodeString(strings.ReplaceAll(inner, `\x`, ""))
	return string(decoded), err
}

// parseInt reads a number of strace; -1 for AT_FDCWD and the like.
func parseInt(text string) int64 {
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		return -1
	}
	return n
}
