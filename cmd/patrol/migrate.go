package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/plan"
	"patrol/engine/store"

	"github.com/spf13/cobra"
)

type migrateOptions struct {
	owner     string
	workspace string
	replies   string
	product   productOptions
}

// Migrate tells how to replace tokens by OAuth.
func (c commands) Migrate() *cobra.Command {
	var o migrateOptions
	cmd := &cobra.Command{
		Use:   "migrate [TOKEN]",
		Short: "Show how to replace a token by OAuth: identity, commands, Terraform, variables, check, revocation",
		Long: "Writes the recipe that takes whatever uses a token to OAuth, from what the newest snapshots hold: which identity to use, the\n" +
			"commands and the Terraform that make it, the scopes that it needs, the variables to set in the pipeline that was seen, how to\n" +
			"check that it works, and the plan that revokes the token. It says what was observed and what is not known, and changes nothing.\n\n" +
			"It knows the more, the more was read: --usage or --audit-log (who uses it), --with service_principal_secrets, and with an account\n" +
			"--with federation_policies. docs/migrate.md is the guide.\n\n" + exitHelp(exitIncomplete),
		Example: "  patrol migrate 3922b2f6\n  patrol migrate --owner 'etl-*' --format json\n  patrol migrate 3922b2f6 --replies given-up.json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.app.migrate(cmd.Context(), strings.Join(args, ""), &o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.owner, "owner", "", "all tokens whose owner's name, display name or id matches this `glob`")
	flags.StringVar(&o.workspace, "workspace", "", "workspace's name or id matches this `glob`")
	flags.StringVar(&o.replies, "replies", "", "also write the `file` by which `patrol plan --replies` revokes these tokens")
	o.product.addFlags(flags, "text", "json")
	return cmd
}

func (a *app) migrate(ctx context.Context, id string, o *migrateOptions) error {
	if (id == "") == (o.owner == "") {
		return engine.UsageError("read arguments", "TOKEN or --owner", "Name a token by the beginning of its id, or its owner.", errors.New("want one of the two"))
	}
	if a.Names != nil {
		return engine.UsageError("read flag", "--pseudonymise", "Leave it out: a recipe names the principals that it is about.", errors.New("commands about pseudonyms would find nobody"))
	}
	return a.withProduct(ctx, &o.product, func(db *store.DB) error {
		snapshots, err := a.StoredSnapshots(ctx, db, nil)
		if err != nil {
			return err
		}
		breaks, err := a.brokenPolicies(ctx, db)
		if err != nil {
			return err
		}
		when := pipeline.AsOf(snapshots, time.Time{})
		var recipes []plan.Migration
		for _, s := range snapshots {
			if !matchesEither(o.workspace, s.Workspace.Name, s.Workspace.ID) {
				continue
			}
			in, err := migrationInput(s, cmp.Or(o.replies, "given-up.json"))
			if err != nil {
				return err
			}
			in.AsOf = when
			for subject, err := range db.Subjects(ctx, s.ID, when, true) {
				if err != nil {
					return err
				}
				owned := o.owner != "" && slices.ContainsFunc([]string{subject.Owner.Label(), subject.Owner.ID, subject.Owner.DisplayName}, func(name string) bool { return engine.MatchGlob(o.owner, name) })
				expired := holds(subject.Facts.Expired) // nothing is left to replace
				if id != "" && strings.HasPrefix(subject.Token.ID, id) || owned && !expired {
					in.Row = engine.TokenRow{Workspace: s.Workspace, Subject: subject}
					in.Policies = breaks[[2]string{s.Workspace.ID, subject.Token.ID}]
					recipes = append(recipes, plan.Migrate(in))
				}
			}
		}
		if len(recipes) == 0 {
			return engine.UsageError("find token", cmp.Or(id, o.owner), "See `patrol tokens` for ids and owners.", errors.New("the newest snapshots hold none that is so called and live"))
		}
		if err := a.writeProduct(outfile.Files{}, o.product.output, func(w io.Writer) error {
			if o.product.format.word == "json" {
				return encodeJSON(w, map[string]any{"schema": 1, "migrations": recipes})
			}
			for i, m := range recipes {
				if i > 0 {
					fmt.Fprintln(w)
				}
				if _, err := io.WriteString(w, m.Text()); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		if o.replies != "" {
			if err := writeText(o.replies, string(plan.GivenUp(recipes).Encode())); err != nil {
				return err
			}
		}
		return a.tokensCovered(snapshots)
	})
}

// migrationInput is what a snapshot tells beside the token itself.
func migrationInput(s engine.Snapshot, replies string) (plan.MigrationInput, error) {
	in := plan.MigrationInput{Snapshot: s, Replies: replies, LogRead: s.Coverage[engine.SectionAuditLog].Usable()}
	var account engine.AccountListing
	for _, part := range []struct {
		section engine.SectionName
		into    any
		whole   *bool
	}{{engine.SectionAccount, &account, new(bool)}, {engine.SectionFederation, &in.Federation, &in.FederationRead}, {engine.SectionSecrets, &in.Secrets, &in.SecretsRead}} {
		*part.whole = s.Coverage[part.section].Complete()
		if text := s.Documents[part.section]; len(text) > 0 {
			if err := json.Unmarshal(text, part.into); err != nil {
				return in, fmt.Errorf("read %s of workspace %s: %w", part.section, s.Workspace.Name, err)
			}
		}
	}
	if !strings.HasPrefix(account.AccountID, "azure:") {
		in.AccountID = account.AccountID
	}
	return in, nil
}

// brokenPolicies are the policies that each token breaks by the latest
// evaluation; none where there is no evaluation yet.
func (a *app) brokenPolicies(ctx context.Context, db *store.DB) (map[[2]string][]string, error) {
	breaks := map[[2]string][]string{}
	report, err := a.Evaluation(ctx, db, 0)
	if known, ok := engine.AsError(err); ok && known.Reason == "no_evaluation" {
		return breaks, nil
	}
	if err != nil {
		return nil, err
	}
	for f, err := range report.Findings {
		if err != nil {
			return nil, err
		}
		if f.Resource == engine.ResourceToken && f.Status == engine.Fail {
			key := [2]string{f.WorkspaceID, f.ResourceID}
			breaks[key] = append(breaks[key], f.Policy)
		}
	}
	return breaks, nil
}
