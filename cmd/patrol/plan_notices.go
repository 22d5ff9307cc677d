package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"patrol/engine"
	"patrol/engine/notice"
	"patrol/engine/plan"
)

// noticeSource is the template of --notice-template; "" for the standard one.
func (a *app) noticeSource(o *planOptions) (string, error) {
	if o.noticeTemplate == "" {
		return "", nil
	}
	if o.notices == "" {
		return "", engine.UsageError("read flag", "--notice-template", "Say with --notices where to write the notices.", errors.New("there are none to write"))
	}
	content, err := readInput("read template of notices", o.noticeTemplate)
	return string(content), err
}

// writeNotices writes a file for each owner, and a mail where there is an
// address. Nothing is sent.
func (a *app) writeNotices(p engine.Plan, messages []notice.Message, dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &engine.Error{Class: engine.ClassStorage, Reason: "output", Op: "create", Target: dir, Hint: "Name another directory with --notices.", Err: err}
	}
	asOf, err := time.Parse(time.RFC3339, p.AsOf)
	if err != nil {
		return err
	}
	mails := 0
	for _, m := range messages {
		if err := plan.Write(filepath.Join(dir, m.Name+".md"), []byte(m.Body)); err != nil {
			return err
		}
		if content := m.Mail(asOf); content != nil {
			mails++
			if err := plan.Write(filepath.Join(dir, m.Name+".eml"), content); err != nil {
				return err
			}
		}
	}
	a.say("%s: %s, %d of them as mails ready to send", dir, plural(len(messages), "notice"), mails)
	return nil
}
