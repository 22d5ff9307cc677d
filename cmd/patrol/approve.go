package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"patrol/cmd/internal/config"
	"patrol/engine"
	"patrol/engine/plan"
	"patrol/engine/remedy"
	"patrol/reports"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
)

// approveOptions say which steps, in whose name, and how it is signed.
type approveOptions struct {
	all      bool
	steps    []string
	from     string
	by       string
	reason   string
	validFor string
	withdraw bool
	reject   bool
	expect   string // digest

	selection selection
	signKey   string
	export    string
	statement string
	signature string

	changed func(flag string) bool
}

// Approve approves steps of a plan.
func (c commands) Approve() *cobra.Command {
	var o approveOptions
	cmd := &cobra.Command{
		Use:   "approve PLAN",
		Short: "Approve a plan, or some of its steps",
		Long: "Approves steps of a plan, for the very bytes that the plan has now, and writes PLAN.approval.json beside it. What is\n" +
			"approved must be named on the command line: --all, --step, --from, or a selection such as --workspace or --risk.\n\n" +
			"Without approval.allowed_signers in the configuration an unsigned approval counts; it proves nothing about who gave it.\n" +
			"docs/remediation.md tells how to sign.\n\n" + exitHelp(exitRefused),
		Example: "  patrol approve plan.json --from plan.xlsx --by alice@example.com\n  patrol approve plan.json --all --reason \"change 4711\"\n" +
			"  patrol approve plan.json --step s3fa9c01b22de --by alice@example.com --sign-key ~/.ssh/id_ed25519\n" +
			"  patrol approve plan.json --workspace 'prod-*' --risk low\n" +
			"  patrol approve plan.json --withdraw",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.changed = func(flag string) bool { return cmd.Flags().Changed(flag) }
			return c.app.approve(cmd.Context(), args[0], &o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.all, "all", false, "approve every step")
	flags.StringSliceVar(&o.steps, "step", nil, "approve these steps: `ids`, as `patrol show` lists them")
	o.selection.addFlags(flags)
	o.selection.addPolicies(flags)
	flags.StringVar(&o.from, "from", "", "take the decisions from the reviewers' workbook `plan.xlsx`")
	flags.BoolVar(&o.withdraw, "withdraw", false, "take back what you said of the plan, or of --step")
	flags.BoolVar(&o.reject, "reject", false, "reject the steps of --step: nobody's approval counts until you withdraw that")
	flags.StringVar(&o.expect, "expect-digest", "", "refuse a plan of another `sha256`")
	flags.StringVar(&o.by, "by", "", "`name` of the approver (default: the principal of the key, else the user of this machine)")
	flags.StringVar(&o.reason, "reason", "", "why, such as the number of a change: `text`")
	flags.StringVar(&o.signKey, "sign-key", "", "sign with this SSH key `file`, by the agent where needed")
	flags.StringVar(&o.export, "export-statement", "", "write the statement to this `file`, for ssh-keygen to sign with -n "+plan.Namespace)
	flags.StringVar(&o.statement, "statement", "", "approve with this `file`, made by --export-statement")
	flags.StringVar(&o.signature, "signature", "", "the signature `file` that ssh-keygen made of --statement")
	flags.StringVar(&o.validFor, "valid-for", "", "the approval ends after this `time`, such as 8h (default: with the plan)")
	return cmd
}

func (a *app) approve(ctx context.Context, path string, o *approveOptions) error {
	defer a.BoundForPlan(path)()
	p, content, err := readPlan(path)
	if err != nil {
		return err
	}
	if err := plan.CheckUsable(p, a.env.now()); err != nil {
		return on(path, err)
	}
	digest := plan.Digest(content)
	if o.expect != "" && !strings.EqualFold(o.expect, digest) {
		return on(path, &engine.Error{Class: engine.ClassRefused, Reason: "other_plan", Op: "approve", Hint: "Look at the plan again with `patrol show`: it is not the one that you were told of.",
			Err: fmt.Errorf("the file's sha256 is %s, expected was %s", digest, engine.SafeText(o.expect))})
	}
	var payload []byte // the statement to keep: that of --statement, else what the flags say
	switch {
	case (o.statement == "") != (o.signature == ""):
		return engine.UsageError("read flags", "--statement and --signature", "Give both, or use --sign-key.", errors.New("one is missing"))
	case o.statement == "":
		statement, err := a.statement(ctx, p, digest, o)
		if err != nil {
			return err
		}
		payload = plan.EncodeStatement(statement)
	case o.changed("all") || o.changed("step") || o.changed("from") || o.withdraw || o.signKey != "" || o.export != "":
		return engine.UsageError("read flags", "--statement", "The statement says what is approved: give no other flag with it.", errors.New("cannot be combined"))
	default:
		if payload, err = readInput("read statement", o.statement); err != nil {
			return err
		}
		if _, err := plan.CheckStatement(payload, content, p); err != nil {
			return on(o.statement, err)
		}
	}
	a.tellStatement(p, content, payload)
	if o.export != "" { // somebody else's tool is to sign it
		if err := plan.Write(o.export, payload); err != nil {
			return err
		}
		a.say("%s: written. Sign and add it:", o.export)
		a.say("  ssh-keygen -Y sign -n %s -f KEY %s", plan.Namespace, o.export)
		a.say("  patrol approve %s --statement %s --signature %s.sig", path, o.export, o.export)
		return nil
	}
	signature := ""
	switch {
	case o.signature != "":
		var text []byte
		text, err = readInput("read signature", o.signature)
		signature = string(text)
	case o.signKey != "":
		signature, err = a.sign(ctx, o.signKey, plan.Namespace, payload)
	}
	if err != nil {
		return err
	}
	return a.keepApproval(path, p, content, payload, signature)
}

// statement is what the flags say. Steps are taken from the command line only:
// that nothing but it approves anything keeps an environment variable from doing so.
func (a *app) statement(ctx context.Context, p engine.Plan, digest string, o *approveOptions) (plan.Statement, error) {
	host, _ := os.Hostname() // a help for readers, no more
	s := plan.Statement{
		Schema: plan.ApprovalSchema, Kind: plan.Approve, PlanSHA: digest, PlanID: p.ID,
		Approver: a.approver(ctx, o), Reason: engine.RedactSecrets(o.reason), // it is kept for years, and people quote comments when they say why
		At: a.env.now().UTC().Format(time.RFC3339), ExpiresAt: p.ExpiresAt, Host: host, User: a.person(""),
	}
	if _, err := engine.Person(o.by); err != nil && strings.Contains(o.by, "@") {
		return s, engine.UsageError("read flag", "--by", "Give the address by which the approver signs in, or its numeric id.", err)
	}
	if o.validFor != "" { // ends before the plan does
		var length config.Duration
		if err := length.UnmarshalText([]byte(o.validFor)); err != nil || length == 0 {
			return s, engine.UsageError("read flag", "--valid-for", "Give a length of time such as 8h.", fmt.Errorf("%q is no length of time", o.validFor))
		}
		if end := a.env.now().UTC().Add(time.Duration(length)).Format(time.RFC3339); end < s.ExpiresAt {
			s.ExpiresAt = end
		}
	}
	all, steps, from := o.changed("all") && o.all, o.changed("step"), o.changed("from")
	selected := o.selection.given() || o.selection.limit > 0
	verdict := plan.Accept
	if o.reject {
		verdict = plan.Reject
	}
	if o.withdraw {
		s.Kind = plan.Withdraw
	}
	if err := o.selection.check(); err != nil {
		return s, err
	}
	var chosen []engine.Step
	switch {
	case o.withdraw && o.reject:
		return s, engine.UsageError("read flags", "--withdraw, --reject", "Use one of them.", errors.New("cannot be combined"))
	case o.reject && !steps && !o.selection.given():
		return s, engine.UsageError("read flags", "--reject", "Say with --step or a selection which steps.", errors.New("no step is named"))
	case all && (steps || from || selected), steps && (from || selected), from && (selected || o.withdraw):
		return s, engine.UsageError("read flags", "--all, --step, --from", "Use one of them, or a selection; --withdraw goes with --step or a selection.", errors.New("cannot be combined"))
	case all, o.withdraw && !steps && !selected:
		s.All = true
		return s, nil
	case from:
		decisions, err := reports.ReadPlanXLSX(o.from, p, digest)
		if err == nil && len(decisions) == 0 {
			err = engine.UsageError("read decisions from", o.from, "Choose approve, reject or defer in the column Decision.", errors.New("no step is decided"))
		}
		for _, d := range decisions {
			s.Decisions = append(s.Decisions, plan.Decision{Step: d.Step, Verdict: plan.Verdict(d.Decision), Reason: engine.RedactSecrets(d.Comment)})
		}
		return s, err
	case selected:
		if chosen, _ = o.selection.of(p); len(chosen) == 0 {
			return s, engine.UsageError("approve", "", "`patrol show` takes the same flags and shows what they choose.", errors.New("no step of the plan is chosen"))
		}
	case steps:
		for _, id := range o.steps {
			i := slices.IndexFunc(p.Steps, func(step engine.Step) bool { return step.ID == id })
			if i < 0 {
				return s, engine.UsageError("approve", id, "`patrol show` lists the steps.", errors.New("the plan has no such step"))
			}
			chosen = append(chosen, p.Steps[i])
		}
	default:
		return s, engine.UsageError("approve", "", "Say what to approve: --all, --step ID, a selection such as --workspace NAME, or --from the reviewers' workbook.", errors.New("no step is named"))
	}
	decided := map[string]bool{}
	for _, step := range chosen {
		if !decided[step.ID] {
			s.Decisions = append(s.Decisions, plan.Decision{Step: step.ID, Verdict: verdict})
		}
		decided[step.ID] = true
	}
	return s, nil
}

// tellStatement says what is about to be said of which plan.
func (a *app) tellStatement(p engine.Plan, content, payload []byte) {
	s, err := plan.CheckStatement(payload, content, p)
	if err != nil {
		return // keepApproval tells what is wrong with it
	}
	verdicts := map[string]plan.Verdict{}
	for _, d := range s.Decisions {
		verdicts[d.Step] = d.Verdict
	}
	counts := map[plan.Verdict]map[engine.Action]int{}
	workspaces, owners := map[string]bool{}, map[string]bool{}
	for _, step := range p.Steps {
		if s.All {
			verdicts[step.ID] = plan.Accept
		}
		verdict := verdicts[step.ID]
		if verdict == "" {
			continue
		}
		if counts[verdict] == nil {
			counts[verdict] = map[engine.Action]int{}
		}
		counts[verdict][step.Action]++
		workspaces[step.WorkspaceID] = true
		if remedy.Changes(step) && step.OwnerID != "" {
			owners[step.OwnerID] = true
		}
	}
	a.say("Plan %s, sha256 %s", p.ID, plan.Digest(content))
	if s.Kind == plan.Approve {
		for _, line := range remedy.Dangers(p, func(id string) bool { return verdicts[id] == plan.Accept }) {
			a.say("  %s", strings.ToUpper(line[:1])+line[1:])
		}
	}
	for _, verdict := range engine.SortedKeys(counts) {
		var parts []string
		for _, action := range remedy.Names() {
			if n := counts[verdict][action]; n > 0 {
				parts = append(parts, fmt.Sprintf("%s %d", action, n))
			}
		}
		word := string(verdict) + "s"
		if s.Kind == plan.Withdraw {
			word = "takes back what was said of"
		}
		a.say("  %s %s: %s; in %s, of %s", engine.SafeText(s.Approver), word, strings.Join(parts, ", "), plural(len(workspaces), "workspace"), plural(len(owners), "owner"))
	}
}

// keepApproval adds a statement to the plan's approvals and tells where they
// stand. An approval that can never count is an error, and is not kept.
func (a *app) keepApproval(path string, p engine.Plan, content, payload []byte, signature string) error {
	file, err := readApprovals(path)
	if err != nil {
		return err
	}
	target := approvalPath(path)
	if file != nil && plan.Foreign(file, content) {
		a.say("%s was about an earlier plan: its approvals are dropped.", target)
		file = nil
	}
	if file, err = plan.Append(file, payload, signature); err != nil {
		return on(target, err)
	}
	var standing []string
	approved, err := a.verifyPlan(p, content, file)
	if known, ok := engine.AsError(err); ok && known.Reason == "unapproved" {
		standing = []string{"Not approved: " + err.Error()}
	} else if err != nil {
		return on(target, err)
	} else {
		standing = tellApproved(approved)
		if err := plan.CheckLimits(approved.Plan, func(id string) bool { return approved.Steps[id] }); err != nil {
			standing = append(standing, "Warning: apply will refuse these steps together: "+err.Error())
		}
	}
	if err := plan.Write(target, file); err != nil {
		return err
	}
	a.say("%s: written", target)
	for _, line := range standing {
		a.say("%s", line)
	}
	return nil
}

// signer finds a private key: in a file, or in the agent by its .pub file.
func (a *app) signer(ctx context.Context, key string) (ssh.Signer, io.Closer, error) {
	socket, _ := a.env.lookup("SSH_AUTH_SOCK")
	return plan.Keyring{Agent: socket}.Signer(ctx, key)
}

// sign signs a payload; without one it only looks whether it could.
func (a *app) sign(ctx context.Context, key, namespace string, payload []byte) (signature string, err error) {
	signer, closer, err := a.signer(ctx, key)
	if err == nil && payload != nil {
		signature, err = plan.Sign(payload, namespace, signer)
	}
	if err == nil {
		err = closer.Close()
	}
	if err != nil {
		return "", engine.UsageError("sign with", key, "Name a private SSH key, or load it into the agent (`ssh-add`) and name its .pub file.", err)
	}
	return signature, nil
}

// approver is in whose name the statement is made: as told, else whom the
// signing key stands for, else the user of this machine.
func (a *app) approver(ctx context.Context, o *approveOptions) string {
	if o.by != "" || o.signKey == "" {
		return a.person(o.by)
	}
	trust, err := a.Config.Trust()
	signer, closer, errSigner := a.signer(ctx, o.signKey)
	if errSigner != nil {
		return a.person("") // signing tells the error
	}
	defer closer.Close()
	if err == nil && trust.Signers != nil {
		if name, known := trust.Signers.Principal(signer.PublicKey()); known {
			return name
		}
	}
	return a.person("")
}

func readInput(op, path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, engine.UsageError(op, path, "Name an existing file.", err)
	}
	return content, nil
}
