package main

import (
	"context"
	"fmt"
	"strings"

	"patrol/collectors"
	"patrol/engine"

	"github.com/spf13/pflag"
)

// requestOptions say which sections are read that an ordinary audit leaves out.
type requestOptions struct {
	with    []string
	logPath string

	sections []engine.SectionName
	log      *collectors.AuditLog
}

func (o *requestOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.with, "with", nil, "read these `sections` too: "+strings.Join(sectionsOnRequest(), ", "))
	flags.StringVar(&o.logPath, "audit-log", "", "judge tokens by this exported audit log too: a `file` made by the query in docs/audit-log.md")
}

// sectionsOnRequest are those that calls can read; an audit log is a file.
func sectionsOnRequest() []string {
	var names []string
	for _, collector := range collectors.All() {
		if collector.OnRequest != "" && collector.Section != engine.SectionAuditLog {
			names = append(names, string(collector.Section))
		}
	}
	return names
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
		o.log, err = collectors.OpenAuditLog(ctx, o.logPath)
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
	if name == string(engine.SectionAuditLog) {
		hint = "Name the file with --audit-log."
	}
	return "", engine.UsageError("read flag", "--with", hint, fmt.Errorf("no section that is read on request is called %q", name))
}
