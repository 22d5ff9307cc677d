package reports

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patrol/engine"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is a browser with an empty profile that the tests of the page share,
// one tab each.
func chromium(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	path := findChromium()
	if path == "" {
		t.Skip("no chromium, chromium-browser or google-chrome on PATH: audit.html is not tested in a browser")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

func findChromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// tab shows a report and notes whatever a page that loads nothing and runs only
// its own script must not do.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string

	lock    sync.Mutex
	trouble []string
}

// openPage shows a report; its test fails if the page makes trouble.
func openPage(t *testing.T, parent context.Context, r engine.Report) *tab {
	t.Helper()
	b := openTab(t, parent, r)
	b.load()
	t.Cleanup(func() {
		for _, trouble := range b.troubles() {
			t.Error(trouble)
		}
	})
	return b
}

func openTab(t *testing.T, parent context.Context, r engine.Report) *tab {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.html")
	if err := os.WriteFile(path, []byte(renderPage(t, r)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(parent)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, url: "file://" + path}
	b.size(1280, 900)
	b.check(chromedp.Listen(ctx, b.note))
	call(b, log.Enable, cdp.Empty{})
	call(b, network.Enable, network.EnableParams{})
	return b
}

func (b *tab) load() {
	b.t.Helper()
	b.do(chromedp.Navigate(b.url), chromedp.WaitReady(chromedp.CSS("main[aria-busy=false]")))
}

func (b *tab) note(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.say("exception: %s", e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		b.say("console.%s", e.Type)
	case *log.EventEntryAdded:
		b.say("log: %s", e.Entry.Text)
	case *page.EventJavascriptDialogOpening:
		b.say("dialog: %s", e.Message)
	case *network.EventRequestWillBeSent:
		if url := e.Request.URL; !strings.HasPrefix(url, b.url) && !strings.HasPrefix(url, "data:") && !strings.HasPrefix(url, "blob:") {
			b.say("request: %s", url)
		}
	}
}

func (b *tab) say(format string, args ...any) {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.trouble = append(b.trouble, fmt.Sprintf(format, args...))
}

func (b *tab) troubles() []string {
	b.lock.Lock()
	defer b.lock.Unlock()
	return slices.Clone(b.trouble)
}

func (b *tab) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	b.check(chromedp.Do(b.ctx, steps...))
}

func (b *tab) size(width, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height, chromedp.EmulateScale(1)))
}

func (b *tab) theme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
}

// at goes to a view and waits until it is shown.
func (b *tab) at(address string) {
	b.t.Helper()
	eval[any](b, fmt.Sprintf(`location.hash = %q, new Promise(done => setTimeout(() => requestAnimationFrame(() => done(1)), 0))`, address))
}

// text is what an element shows.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf(`document.querySelector(%q).innerText`, selector))
}

func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	result, err := chromedp.Call(b.ctx, command, params)
	b.check(err)
	return result
}

func eval[T any](b *tab, script string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	return value
}

// wait polls until a script gives true.
func (b *tab) wait(script string) {
	b.t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Poll[bool](script, chromedp.WithPollingTimeout(time.Minute), chromedp.WithPollingInterval(20*time.Millisecond)))
	if err != nil {
		b.t.Fatalf("wait for %s: %v", script, err)
	}
}

// download clicks what exports a file and reads it.
func (b *tab) download(selector, name string) string {
	b.t.Helper()
	dir := b.t.TempDir()
	_, err := chromedp.CallBrowser(b.ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir})
	b.check(err)
	b.do(chromedp.Click(chromedp.CSS(selector)))
	path := filepath.Join(dir, name)
	for range 2400 {
		if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
			return string(text)
		}
		time.Sleep(25 * time.Millisecond)
	}
	b.t.Fatalf("no %s was downloaded", name)
	return ""
}
