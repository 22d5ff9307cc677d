package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"patrol/cmd/internal/config"
	"patrol/engine"
	"patrol/engine/notice"
	"patrol/engine/plan"
	"patrol/reports"

	"github.com/spf13/cobra"
	"golang.org/x/time/rate"
)

// Notices sends what `plan --notices` wrote, and reads what owners answer.
func (c commands) Notices() *cobra.Command {
	cmd := commandGroup("notices", "Send notices to the owners of tokens, and read what they answer", c.app.noticesSend(), c.app.noticesRead())
	cmd.Long = "`patrol plan --notices DIR` writes a message for each owner with a workbook to answer in. Send them as you like, or by\n" +
		"`notices send` through the mail server of the configuration. `notices read` reads the answers."
	return cmd
}

func (a *app) noticesSend() *cobra.Command {
	var dryRun bool
	var perMinute int
	var again []string
	cmd := &cobra.Command{
		Use:   "send DIR",
		Short: "Send the .eml files of a directory, each once",
		Long: "Sends each .eml file of a directory by the mail server under notices.smtp in the configuration. What was sent is noted beside\n" +
			"it in a .sent file before and after, so that nothing is sent twice: after a crash a message of which nobody knows\n" +
			"whether it was sent is named, and sent only with --again.\n\n" + exitHelp(exitIncomplete),
		Example: "  patrol notices send notices --dry-run\n  patrol notices send notices",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, dir := cmd.Context(), args[0]
			if perMinute < 1 {
				return engine.UsageError("read flag", "--per-minute", "Give 1 or more.", fmt.Errorf("%d is less", perMinute))
			}
			server, err := a.Config.MailServer(a.env.lookup)
			if err != nil {
				return err
			}
			literal := strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
			files, err := filepath.Glob(filepath.Join(literal, "*.eml"))
			if err != nil || len(files) == 0 {
				return engine.UsageError("send notices of", dir, "Write them with `patrol plan --notices "+dir+"`.", errors.Join(err, errors.New("it holds no .eml file")))
			}
			slices.Sort(files)
			sent, before, failed := 0, 0, 0
			fail := func(file string, err error) {
				failed++
				a.logLine(a.env.stderr, engine.SafeText(fmt.Sprintf("%s: not sent: %v", file, err)))
			}
			pace := rate.NewLimiter(rate.Limit(float64(perMinute)/60), 1)
			for _, file := range files {
				content, err := readInput("send notice", file)
				if err != nil {
					return err
				}
				draft, err := notice.FromFile(content, server.From, a.env.now())
				if err != nil {
					fail(file, err)
					continue
				}
				path := file + ".sent"
				record, err := readSending(path)
				if err != nil {
					return err
				}
				switch {
				case slices.Contains(again, file), slices.Contains(again, filepath.Base(file)):
				case record.Sent != "":
					before++
					a.detail("%s: sent to %s on %s", file, record.To, record.Sent)
					continue
				case record.Begun != "":
					fail(file, fmt.Errorf("it may have been sent to %s on %s: look, and send it with --again %s", record.To, record.Begun, filepath.Base(file)))
					continue
				}
				if dryRun {
					a.say("%s: would be sent to %s", file, draft.To)
					continue
				}
				if err := pace.Wait(ctx); err != nil {
					return err
				}
				record = sending{To: draft.To, MessageID: draft.ID, Begun: a.env.now().UTC().Format(time.RFC3339)}
				note := func() error { return plan.Write(path, append(engine.CompactJSON(record), '\n')) }
				err = server.Send(ctx, draft.To, draft.Content, note)
				var rejected *notice.RejectedError
				switch {
				case errors.As(err, &rejected):
					fail(file, err)
					if err = os.Remove(path); errors.Is(err, os.ErrNotExist) {
						err = nil
					} else if err != nil {
						err = &engine.Error{Class: engine.ClassStorage, Reason: "output", Op: "remove", Target: path, Hint: "Remove it: the notice was not sent.", Err: err}
					}
				case err != nil:
					fail(file, fmt.Errorf("it may have been sent: %w", err))
					err = ctx.Err()
				default:
					record.Sent = a.env.now().UTC().Format(time.RFC3339)
					sent++
					a.say("%s: sent to %s", file, draft.To)
					err = note()
				}
				if err != nil {
					return err
				}
			}
			a.say("%s: %d sent, %d sent before, %d not sent", dir, sent, before, failed)
			if failed > 0 {
				return &engine.Error{Class: engine.ClassIncomplete, Reason: "not_sent", Op: "send notices of", Target: dir,
					Hint: "Correct what is named above and run it again: what was sent is not sent again.", Err: fmt.Errorf("%s not sent", plural(failed, "message"))}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&dryRun, "dry-run", false, "say what would be sent, and to whom")
	flags.IntVar(&perMinute, "per-minute", 60, "send at most this `number` of messages a minute")
	flags.StringSliceVar(&again, "again", nil, "send these `files` although they may have been sent before")
	return cmd
}

// sending is the record of a message, beside it. A message without an end was
// handed over, or not: nobody knows.
type sending struct {
	To        string `json:"to"`
	MessageID string `json:"message_id"`
	Begun     string `json:"begun"`
	Sent      string `json:"sent,omitempty"`
}

func readSending(path string) (record sending, err error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return record, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &record)
	}
	if err == nil && record.Begun == "" {
		err = errors.New("it does not say when")
	}
	if err != nil {
		return record, engine.UsageError("read record", path, "It tells whether the notice was sent: restore it, or delete it if you are sure that it was not.", err)
	}
	return record, nil
}

func (a *app) noticesRead() *cobra.Command {
	var output, proposed string
	cmd := &cobra.Command{
		Use:   "read PLAN WORKBOOK...",
		Short: "Read the workbooks in which owners answered",
		Long: "Reads the answers of owners to the notices of a plan: keep, revoke or justify. Nothing follows from them by itself:\n" +
			"`patrol plan --replies` makes a plan that revokes what owners gave up, to be approved as any other; and for each\n" +
			"justification a waiver is proposed that lacks its approver, so that it does not count before somebody has decided.\n\n" + exitHelp(),
		Example: "  patrol notices read plan.json answers/*.xlsx\n  patrol plan --replies replies.json",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			p, content, err := readPlan(args[0])
			if err != nil {
				return err
			}
			now := a.env.now()
			replies := plan.Replies{Schema: plan.RepliesSchema, PlanID: p.ID, PlanSHA: plan.Digest(content), Replies: []plan.Reply{}}
			answered := map[string]string{} // step → workbook
			count := map[string]int{}       // by reply
			asked := notice.Asked(p)
			for _, book := range args[1:] {
				read, err := reports.ReadReplyXLSX(book, asked, replies.PlanSHA, now)
				if err != nil {
					return err
				}
				for _, r := range read {
					if other := answered[r.Step.ID]; other != "" {
						return engine.UsageError("read replies of", book, "Leave one of them out.", fmt.Errorf("step %s is answered in %s too", r.Step.ID, other))
					}
					answered[r.Step.ID] = book
					reply := plan.Reply{
						Step: r.Step.ID, Workspace: r.Step.Workspace, WorkspaceID: r.Step.WorkspaceID, Token: r.Step.Target, Owner: r.Step.Owner, OwnerID: r.Step.OwnerID,
						Policies: r.Step.Policies, Reply: r.Reply, Comment: engine.RedactSecrets(r.Comment),
					}
					if !r.Until.IsZero() {
						reply.Until = r.Until.Format(time.DateOnly)
					}
					count[reply.Reply]++
					replies.Replies = append(replies.Replies, reply)
				}
			}
			waivers, err := replies.Waivers(now)
			if err != nil {
				return engine.UsageError("propose waivers", "", "Write that waiver by hand.", err)
			}
			if err := plan.Write(output, replies.Encode()); err != nil {
				return err
			}
			if waivers != "" {
				if err := plan.Write(proposed, []byte(waivers)); err != nil {
					return err
				}
			}
			a.say("%s: %d of %s answered: %d keep, %d revoke, %d justify", output, len(replies.Replies), plural(len(asked), "step"),
				count[engine.ReplyKeep], count[engine.ReplyRevoke], count[engine.ReplyJustify])
			for _, token := range replies.Contradicted() {
				a.say("  token %s: its owner gave it up and also did not; it is not taken for given up", engine.SafeText(token))
			}
			if count[engine.ReplyRevoke] > 0 {
				a.say("Next: patrol plan --replies %s -o plan2.json, then show, approve and apply as ever.", output)
			}
			if waivers != "" {
				a.say("Next: decide about each entry of %s, fill in approver, and move it into waivers.yaml.", proposed)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "replies.json", "write what was answered to this `file`")
	config.OwnPlace(cmd.Flags(), "output")
	cmd.Flags().StringVar(&proposed, "proposed-waivers", "proposed-waivers.yaml", "write the proposed waivers to this `file`, where there are any")
	return cmd
}
