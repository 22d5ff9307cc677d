package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"patrol/collectors"
	"patrol/engine"

	"github.com/spf13/pflag"
)

// requestOptions say which sections are read that an ordinary audit leaves out.
type requestOptions struct {
	with        []string
	usageText   string // as typed: warehouse:ID
	logPath     string
	changesPath string
	reported    string // path of a token report

	sections []engine.SectionName
	usage    *collectors.Usage // nil: not asked for
	log      *collectors.AuditLog
	changes  *collectors.AuditChanges
	report   *collectors.TokenReport
}

func (o *requestOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.with, "with", nil, "read these `sections` too: "+strings.Join(sectionsOnRequest(), ", "))
	ofWords(flags, "with", sectionsOnRequest()...)
	flags.StringVar(&o.usageText, "usage", "", "read from the audit log how tokens are used, by read-only queries: `warehouse:ID` names the SQL warehouse that runs them")
	flags.StringVar(&o.logPath, "audit-log", "", "read it from this exported audit log instead: a `file` made by the query in docs/usage.md")
}

// addWholeFlags is for commands that read whole workspaces.
func (o *requestOptions) addWholeFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.changesPath, "audit-changes", "", "tell by this exported audit log who changed settings and grants and revoked tokens: a `file` made by the second query in docs/usage.md")
	flags.StringVar(&o.reported, "token-report", "", "compare what is read with this token report of the account console too: an exported CSV `file`")
}

// sectionsOnRequest are those that calls can read; others come from a file.
func sectionsOnRequest() []string {
	var names []string
	for _, collector := range collectors.All() {
		if collector.OnRequest != "" && collector.Flag == "" {
			names = append(names, string(collector.Section))
		}
	}
	return names
}

// resolveUsage puts together what the flag and the configuration say of usage.
func (a *app) resolveUsage(o *sourceOptions) error {
	r := &o.request
	if r.usageText == "" {
		if r.usage = a.config.Usage.Reader(nil); r.usage != nil {
			r.usage.ConfigFile = o.configFile
		}
	} else {
		id, named := strings.CutPrefix(r.usageText, "warehouse:")
		if !named || id == "" {
			return engine.UsageError("read flag", "--usage", "Name the SQL warehouse: --usage warehouse:ID; `databricks warehouses list` tells the ids.", fmt.Errorf("%q is not warehouse:ID", r.usageText))
		}
		r.usage = a.config.Usage.Reader(&id)
		r.usage.ConfigFile = o.configFile
	}
	if r.usage != nil && (r.logPath != "" || r.changesPath != "") {
		return engine.UsageError("read flags", "--usage and --audit-log or --audit-changes", "Use one of them: the table or a file.", errors.New("cannot be combined"))
	}
	return nil
}

// resolve checks what was asked for, the audit log row by row, before anything
// is read.
func (o *requestOptions) resolve(ctx context.Context) (err error) {
	o.sections = nil
	for _, name := range o.with {
		section, err := sectionOnRequest(strings.TrimSpace(name))
		if err != nil {
			return err
		}
		o.sections = append(o.sections, section)
	}
	if o.logPath != "" {
		if o.log, err = collectors.OpenAuditLog(ctx, o.logPath); err != nil {
			return err
		}
	}
	if o.changesPath != "" {
		if o.changes, err = collectors.OpenAuditChanges(ctx, o.changesPath); err != nil {
			return err
		}
	}
	if o.reported != "" {
		o.report, err = collectors.OpenTokenReport(ctx, o.reported)
	}
	return err
}

func sectionOnRequest(name string) (engine.SectionName, error) {
	known := sectionsOnRequest()
	for _, section := range known {
		if name == section {
			return engine.SectionName(name), nil
		}
	}
	hint := "Known are: " + strings.Join(known, ", ") + "."
	for _, collector := range collectors.All() {
		if name == string(collector.Section) && collector.Flag != "" {
			hint = collector.OnRequest
		}
	}
	return "", engine.UsageError("read flag", "--with", hint, fmt.Errorf("no section that is read on request is called %q", name))
}
