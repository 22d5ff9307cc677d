package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/plan"
	"patrol/engine/store"
	"patrol/reports/table"

	"github.com/spf13/cobra"
)

// Migrate tells how to replace tokens by OAuth.
func (c commands) Migrate() *cobra.Command {
	var owners, workspaces []string // globs
	var replies string
	var product productOptions
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
			a, ctx, id := c.app, cmd.Context(), strings.Join(args, "")
			if (id == "") == (len(owners) == 0) {
				return engine.UsageError("read arguments", "TOKEN or --owner", "Name a token by the beginning of its id, or its owner.", errors.New("want one of the two"))
			}
			if a.Names != nil {
				return engine.UsageError("read flag", "--pseudonymise", "Leave it out: a recipe names the principals that it is about.", errors.New("commands about pseudonyms would find nobody"))
			}
			return a.withProduct(ctx, &product, func(db *store.DB) error {
				snapshots, err := a.StoredSnapshots(ctx, db, nil)
				if err != nil {
					return err
				}
				breaks := map[[2]string][]string{}
				report, err := a.Evaluation(ctx, db, 0)
				known, isKnown := engine.AsError(err)
				if err == nil {
					breaks, err = brokenPolicies(report)
				}
				if err != nil && (!isKnown || known.Reason != "no_evaluation") {
					return err
				}
				when := pipeline.AsOf(snapshots, time.Time{})
				var recipes []plan.Migration
				for _, s := range snapshots {
					if !anyGlob(workspaces, s.Workspace.Name, s.Workspace.ID) {
						continue
					}
					in, err := plan.ReadMigration(s, cmp.Or(replies, "given-up.json"))
					if err != nil {
						return err
					}
					in.AsOf = when
					for subject, err := range db.Subjects(ctx, s.ID, when, true) {
						if err != nil {
							return err
						}
						owned := id == "" && anyGlob(owners, subject.Owner.Label(), subject.Owner.ID, subject.Owner.DisplayName)
						expired := holds(subject.Facts.Expired) // nothing is left to replace
						if id != "" && strings.HasPrefix(subject.Token.ID, id) || owned && !expired {
							in.Row = engine.TokenRow{Workspace: s.Workspace, Subject: subject}
							in.Policies = breaks[[2]string{s.Workspace.ID, subject.Token.ID}]
							recipes = append(recipes, plan.Migrate(in))
						}
					}
				}
				if len(recipes) == 0 {
					return engine.UsageError("find token", cmp.Or(id, strings.Join(owners, ",")), "See `patrol tokens` for ids and owners.", errors.New("the newest snapshots hold none that is so called and live"))
				}
				if err := a.writeProduct(ctx, db, &product, snapshots, func(w io.Writer, _ table.Options) error {
					if product.format.word == "json" {
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
				if replies != "" {
					if err := writeText(replies, string(plan.GivenUp(recipes).Encode())); err != nil {
						return err
					}
				}
				return a.tokensCovered(snapshots)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&owners, "owner", nil, "all tokens whose owner's name, display name or id matches one of these `globs`")
	addWorkspaceFlag(flags, &workspaces)
	flags.StringVar(&replies, "replies", "", "also write the `file` by which `patrol plan --replies` revokes these tokens")
	product.addFlags(flags, "text", "json")
	return cmd
}
