package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/store"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// completeValues offers values for flags and arguments in the shell. What a flag
// of a name takes is the same in every command, words of its own aside.
func (a *app) completeValues(root *cobra.Command) {
	values := map[string]func(cmd *cobra.Command, args []string) []string{
		"profile": a.profileNames, "account": a.profileNames,
		"only": a.policyIDs, "exclude": a.policyIDs,
		"workspace": a.workspaceNames, "framework": a.frameworkNames, "control": a.frameworkNames,
		"snapshot": a.snapshotIDs, "evaluation": a.evaluationIDs, "step": a.stepIDs,
	}
	arguments := map[string]func(cmd *cobra.Command, args []string) []string{
		"policies show": a.policyIDs, "snapshots show": a.snapshotIDs, "snapshots verify": a.snapshotIDs, "snapshots diff": a.snapshotIDs,
		"evaluations show": a.evaluationIDs,
	}
	everyCommand(root, func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			complete, known := values[flag.Name]
			if flag.Name == "policy" && flag.Value.Type() == "stringSlice" { // elsewhere it names directories
				complete, known = a.policyIDs, true
			}
			if words := flag.Annotations[wordsAnnotation]; words != nil {
				complete, known = func(*cobra.Command, []string) []string { return words }, true
			}
			if known {
				_, many := flag.Value.(pflag.SliceValue)
				_ = cmd.RegisterFlagCompletionFunc(flag.Name, func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
					return completions(complete(cmd, args), text, many), cobra.ShellCompDirectiveNoFileComp
				}) // fails where a command shares the flag: that one registered it
			}
		})
		if complete, known := arguments[strings.TrimPrefix(cmd.CommandPath(), root.Name()+" ")]; known {
			cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
				return completions(complete(cmd, args), text, false), cobra.ShellCompDirectiveNoFileComp
			}
		}
	})
}

// completions are the values that begin as the text does; of a list, as what
// follows its last comma. A description follows after a tab.
func completions(values []string, text string, many bool) []string {
	before := ""
	if i := strings.LastIndexByte(text, ','); many && i >= 0 {
		before, text = text[:i+1], text[i+1:]
	}
	var fit []string
	for _, value := range values {
		if strings.HasPrefix(strings.ToLower(value), strings.ToLower(text)) {
			name, about, described := strings.Cut(value, "\t")
			value = before + engine.SafeText(name)
			if described {
				value += "\t" + engine.SafeText(about)
			}
			fit = append(fit, value)
		}
	}
	return fit
}

const wordsAnnotation = "words"

// ofWords notes the words of which a flag takes some, for the shell.
func ofWords(flags *pflag.FlagSet, name string, words ...string) {
	_ = flags.SetAnnotation(name, wordsAnnotation, words) // it exists
}

// profileNames are those of .databrickscfg.
func (a *app) profileNames(*cobra.Command, []string) (names []string) {
	path, set := a.env.lookup("DATABRICKS_CONFIG_FILE")
	if !set {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil
		}
		path = filepath.Join(home, ".databrickscfg")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			names = append(names, strings.Trim(line, "[]"))
		}
	}
	return names
}

func (a *app) policyIDs(cmd *cobra.Command, _ []string) (ids []string) {
	for _, p := range a.completedPolicies(cmd) {
		ids = append(ids, p.ID+"\t"+p.Title)
	}
	return ids
}

func (a *app) frameworkNames(cmd *cobra.Command, _ []string) []string {
	names := map[string]bool{}
	for _, p := range a.completedPolicies(cmd) {
		for framework, controls := range p.Controls {
			names[framework] = true
			for _, control := range controls {
				names[framework+":"+control] = true
			}
		}
	}
	return engine.SortedKeys(names)
}

func (a *app) completedPolicies(cmd *cobra.Command) []engine.Policy {
	var o pipeline.Judging
	if packs, err := cmd.Flags().GetStringArray("policy"); err == nil {
		o.Packs = packs
	}
	set, err := a.loadPolicies(cmd.Context(), &o)
	if err != nil {
		return nil
	}
	return set.Every()
}

// stored asks the database, if it can be read.
func stored[T any](a *app, cmd *cobra.Command, list func(*store.DB) ([]T, error), text func(T) string) (values []string) {
	if a.Config.Set(cmd.Flags(), a.env.environment(), a.origins) != nil {
		return nil
	}
	_ = a.WithStore(cmd.Context(), store.ReadOnly, func(db *store.DB) error {
		rows, err := list(db)
		for _, row := range rows {
			values = append(values, text(row))
		}
		return err
	})
	return values
}

func (a *app) snapshotIDs(cmd *cobra.Command, _ []string) []string {
	ids := stored(a, cmd, func(db *store.DB) ([]engine.Snapshot, error) { return db.Snapshots(cmd.Context()) }, func(s engine.Snapshot) string {
		return fmt.Sprintf("%d\t%s %s", s.ID, s.Workspace.Name, s.CollectedAt.UTC().Format(time.RFC3339))
	})
	return append([]string{"latest", "latest~1"}, ids...)
}

func (a *app) workspaceNames(cmd *cobra.Command, _ []string) []string {
	names := map[string]bool{}
	for _, w := range a.Config.Workspaces {
		names[w.Name] = w.Name != ""
	}
	for _, name := range stored(a, cmd, func(db *store.DB) ([]engine.Snapshot, error) { return db.Latest(cmd.Context()) },
		func(s engine.Snapshot) string { return s.Workspace.Name }) {
		names[name] = true
	}
	return engine.SortedKeys(names)
}

func (a *app) evaluationIDs(cmd *cobra.Command, _ []string) []string {
	return stored(a, cmd, func(db *store.DB) ([]store.EvaluationSummary, error) { return db.Evaluations(cmd.Context()) }, func(e store.EvaluationSummary) string {
		return strconv.FormatInt(e.ID, 10) + "\tas of " + e.AsOf.Format(time.RFC3339)
	})
}

func (a *app) stepIDs(_ *cobra.Command, args []string) (ids []string) {
	if len(args) == 0 {
		return nil
	}
	p, _, err := readPlan(args[0])
	if err != nil {
		return nil
	}
	for _, s := range p.Steps {
		ids = append(ids, fmt.Sprintf("%s\t%s %s of %s", s.ID, s.Action, shortTarget(s.Target), s.Owner))
	}
	return ids
}
