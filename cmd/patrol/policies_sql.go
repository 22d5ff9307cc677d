package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"patrol/engine"
	"patrol/engine/store"
)

// showSQL tells what of a policy is asked before it is run: of the database,
// which then spares whole tokens, and of each token that was read.
func (s *policySet) showSQL(ctx context.Context, w io.Writer, p engine.Policy) error {
	asked, err := s.all.Pushdown(ctx, p.ID, s.effective(engine.Workspace{})[p.ID])
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nAsked before the Rego is run, with the parameters in force; what depends on the workspace is asked there\n")
	if asked.Every != "" {
		fmt.Fprintf(w, "  Nothing: %s. It is run on every token that it judges.\n", asked.Every)
		return nil
	}
	for _, text := range asked.Asked {
		fmt.Fprintf(w, "  %s\n", strings.TrimSuffix(text, " if "))
	}
	if len(asked.Asked) == 0 {
		fmt.Fprintf(w, "  Nothing is left that could fire.\n")
	}
	where, why := store.SiftSQL(asked.Rule)
	if why != "" {
		fmt.Fprintf(w, "\nIn SQL\n  Nothing: %s. Every token is read, and asked in memory.\n", why)
	} else {
		fmt.Fprintf(w, "\nIn SQL (?3 is the moment of judgement); a token for which nothing holds is not read\n  %s\n", strings.ReplaceAll(where, "\n", "\n  "))
	}
	if len(asked.Dropped) > 0 {
		fmt.Fprintf(w, "\nNot asked, left to the Rego\n")
	}
	for _, dropped := range asked.Dropped {
		fmt.Fprintf(w, "  %s\n      %s\n", dropped.Expr, dropped.Reason)
	}
	return nil
}
