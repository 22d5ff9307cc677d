package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"patrol/cmd/internal/config"
	"patrol/engine"
	"patrol/engine/notice"
	"patrol/engine/plan"
	"patrol/reports"

	"github.com/spf13/cobra"
)

type readOptions struct{ output, waivers string }

func (a *app) noticesRead() *cobra.Command {
	var o readOptions
	cmd := &cobra.Command{
		Use:   "read PLAN WORKBOOK...",
		Short: "Read the workbooks in which owners answered",
		Long: "Reads the answers of owners to the notices of a plan: keep, revoke or justify. Nothing follows from them by itself:\n" +
			"`patrol plan --replies` makes a plan that revokes what owners gave up, to be approved as any other; and for each\n" +
			"justification a waiver is proposed that lacks its approver, so that it does not count before somebody has decided.\n\n" + exitHelp(),
		Example: "  patrol notices read plan.json answers/*.xlsx\n  patrol plan --replies replies.json",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.readReplies(cmd.Context(), args[0], args[1:], &o)
		},
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "replies.json", "write what was answered to this `file`")
	config.OwnPlace(cmd.Flags(), "output")
	cmd.Flags().StringVar(&o.waivers, "proposed-waivers", "proposed-waivers.yaml", "write the proposed waivers to this `file`, where there are any")
	return cmd
}

func (a *app) readReplies(_ context.Context, path string, books []string, o *readOptions) error {
	p, content, err := readPlan(path)
	if err != nil {
		return err
	}
	now := a.env.now()
	replies := plan.Replies{Schema: plan.RepliesSchema, PlanID: p.ID, PlanSHA: plan.Digest(content), Replies: []plan.Reply{}}
	answered := map[string]string{} // step → workbook
	asked := notice.Asked(p)
	for _, book := range books {
		read, err := reports.ReadReplyXLSX(book, asked, replies.PlanSHA, now)
		if err != nil {
			return err
		}
		for _, reply := range read {
			if other := answered[reply.Step.ID]; other != "" {
				return engine.UsageError("read replies of", book, "Leave one of them out.", fmt.Errorf("step %s is answered in %s too", reply.Step.ID, other))
			}
			answered[reply.Step.ID] = book
			replies.Replies = append(replies.Replies, replyOf(reply))
		}
	}
	return a.keepReplies(replies, now, len(asked), o)
}

func replyOf(r reports.TokenReply) plan.Reply {
	reply := plan.Reply{
		Step: r.Step.ID, Workspace: r.Step.Workspace, WorkspaceID: r.Step.WorkspaceID, Token: r.Step.Target, Owner: r.Step.Owner, OwnerID: r.Step.OwnerID,
		Policies: r.Step.Policies, Reply: r.Reply, Comment: engine.RedactSecrets(r.Comment),
	}
	if !r.Until.IsZero() {
		reply.Until = r.Until.Format(time.DateOnly)
	}
	return reply
}

func (a *app) keepReplies(replies plan.Replies, now time.Time, asked int, o *readOptions) error {
	waivers, err := replies.Waivers(now)
	if err != nil {
		return engine.UsageError("propose waivers", "", "Write that waiver by hand.", err)
	}
	if err := plan.Write(o.output, replies.Encode()); err != nil {
		return err
	}
	if waivers != "" {
		if err := plan.Write(o.waivers, []byte(waivers)); err != nil {
			return err
		}
	}
	a.tellReplies(replies, asked, waivers != "", o)
	return nil
}

func (a *app) tellReplies(replies plan.Replies, asked int, proposed bool, o *readOptions) {
	count := map[string]int{}
	for _, reply := range replies.Replies {
		count[reply.Reply]++
	}
	a.say("%s: %d of %s answered: %d keep, %d revoke, %d justify", o.output, len(replies.Replies), plural(asked, "step"),
		count[engine.ReplyKeep], count[engine.ReplyRevoke], count[engine.ReplyJustify])
	for _, token := range replies.Contradicted() {
		a.say("  token %s: its owner gave it up and also did not; it is not taken for given up", engine.SafeText(token))
	}
	if count[engine.ReplyRevoke] > 0 {
		a.say("Next: patrol plan --replies %s -o plan2.json, then show, approve and apply as ever.", o.output)
	}
	if proposed {
		a.say("Next: decide about each entry of %s, fill in approver, and move it into waivers.yaml.", o.waivers)
	}
}

// repliesFor reads the file of --replies.
func repliesFor(path string) (plan.Replies, error) {
	if path == "" {
		return plan.Replies{}, nil
	}
	content, err := readInput("read replies", path)
	if err != nil {
		return plan.Replies{}, err
	}
	replies, err := plan.ReadReplies(content)
	if err == nil && len(replies.Replies) == 0 {
		err = engine.UsageError("read replies", "", "Leave --replies out.", errors.New("nobody answered"))
	}
	return replies, on(path, err)
}
