package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"time"

	"patrol/engine"
	"patrol/engine/notice"
	"patrol/engine/outfile"
	"patrol/engine/plan"
	"patrol/reports"
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

// writeNotices writes a file and a workbook for each owner, and a mail where
// there is an address. Nothing is sent.
func (a *app) writeNotices(ctx context.Context, p engine.Plan, digest string, messages []notice.Message, dir string) error {
	if dir == "" {
		return nil
	}
	if err := outfile.MakeDir(dir); err != nil {
		return err
	}
	asOf, err := time.Parse(time.RFC3339, p.AsOf)
	if err != nil {
		return err
	}
	mails := 0
	for _, m := range messages {
		var workbook bytes.Buffer
		if err := reports.ReplyXLSX(ctx, &workbook, p, digest, m.Steps); err != nil {
			return err
		}
		files := map[string][]byte{".md": []byte(m.Body), ".xlsx": workbook.Bytes()}
		if content := m.Mail(asOf, workbook.Bytes()); content != nil {
			files[".eml"] = content
			mails++
		}
		for _, ending := range engine.SortedKeys(files) {
			if err := plan.Write(filepath.Join(dir, m.Name+ending), files[ending]); err != nil {
				return err
			}
		}
	}
	a.say("%s: %s, %d of them as mails ready to send", dir, plural(len(messages), "notice"), mails)
	return nil
}

// tellUnused names tokens that owners gave up and that this plan does not revoke.
func (a *app) tellUnused(replies plan.Replies, p engine.Plan) {
	planned := map[string]bool{}
	for _, step := range p.Steps {
		planned[step.WorkspaceID+" "+step.Target] = planned[step.WorkspaceID+" "+step.Target] || step.Action == engine.Revoke
	}
	for _, reply := range replies.Replies {
		if reply.Reply == engine.ReplyRevoke && !planned[reply.WorkspaceID+" "+reply.Token] {
			a.say("token %s of %s was given up, and has no step that revokes it: see not_planned, or it breaks no policy any more", engine.SafeText(reply.Token), engine.SafeText(reply.Workspace))
		}
	}
}
