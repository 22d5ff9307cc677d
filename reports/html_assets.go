package reports

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"strings"

	"patrol/engine"
)

//go:embed html
var htmlFiles embed.FS

// tail ends the page.
const tail = "</body>\n</html>\n"

// assets are the parts of the page that are ours: the frame, the style and the
// script. Style and script are written as they are, beside the template, since
// their digests stand in the page's content security policy.
type assets struct {
	frame  *template.Template
	style  string
	script string
}

func newAssets() (assets, error) {
	frame, err := template.New("page").Funcs(template.FuncMap{"count": engine.Comma, "words": spaced}).ParseFS(htmlFiles, "html/*.tmpl")
	if err != nil {
		return assets{}, fmt.Errorf("parse page template: %w", err)
	}
	style, err := joinFiles("html/*.css")
	if err != nil {
		return assets{}, err
	}
	script, err := joinFiles("html/*.js")
	if err != nil {
		return assets{}, err
	}
	return assets{frame, style, "'use strict';\n(() => {\n" + script + "})();\n"}, nil
}

// joinFiles concatenates files in the order of their names.
func joinFiles(pattern string) (string, error) {
	names, err := fs.Glob(htmlFiles, pattern)
	if err != nil {
		return "", fmt.Errorf("list page files: %w", err)
	}
	var b strings.Builder
	for _, name := range names {
		text, err := htmlFiles.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("read page file: %w", err)
		}
		b.Write(text)
	}
	return b.String(), nil
}

// spaced makes words of a name such as not_applicable.
func spaced(name any) string { return strings.ReplaceAll(fmt.Sprint(name), "_", " ") }

// contentPolicy allows exactly our style and script, and nothing else: no
// request, no form, no base, no string turned into markup. The empty icon keeps
// browsers from asking a server for one.
func (a assets) contentPolicy() string {
	return strings.Join([]string{
		"default-src 'none'",
		"style-src '" + digest(a.style) + "'",
		"script-src '" + digest(a.script) + "'",
		"img-src data:",
		"base-uri 'none'",
		"form-action 'none'",
		"require-trusted-types-for 'script'",
		"trusted-types 'none'",
	}, "; ")
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// writeFrame writes everything but the data: the script comes before them, so that
// a reader sees the summary while they arrive.
func (a assets) writeFrame(w io.Writer, p htmlPage) error {
	p.ContentPolicy = a.contentPolicy()
	if err := a.frame.ExecuteTemplate(w, "head", p); err != nil {
		return err
	}
	if _, err := io.WriteString(w, "<style>"+a.style+"</style>\n"); err != nil {
		return err
	}
	if err := a.frame.ExecuteTemplate(w, "body", p); err != nil {
		return err
	}
	_, err := io.WriteString(w, "<script>"+a.script+"</script>\n")
	return err
}
