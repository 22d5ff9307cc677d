package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/reports"

	"github.com/spf13/pflag"
)

// instant is a flag that holds a moment: RFC 3339, or a day (its first moment, UTC).
type instant struct{ time.Time }

func (i *instant) String() string {
	if i.IsZero() {
		return ""
	}
	return i.UTC().Format(time.RFC3339)
}

func (i *instant) Set(text string) error {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		if year := t.UTC().Year(); year < firstYear || year > lastYear {
			return fmt.Errorf("%q is not within %d to %d, the time of the platform", text, firstYear, lastYear)
		}
		i.Time = t.UTC()
		return nil
	}
	return fmt.Errorf("%q is neither a time such as 2026-11-24T12:00:00Z nor a day such as 2026-11-24", text)
}

func (i *instant) Type() string { return "time" }

// Years between which an instant can be meant: Databricks is of 2013, its tokens
// are younger.
const firstYear, lastYear = 2015, 2100

// severityValue is a flag that holds a severity.
type severityValue struct{ engine.Severity }

func (s *severityValue) String() string { return string(s.Severity) }

func (s *severityValue) Set(text string) (err error) {
	s.Severity, err = engine.ParseSeverity(text)
	return err
}

func (s *severityValue) Type() string { return "severity" }

// severityFlags choose by severity: any of some, or one and what is worse.
type severityFlags struct {
	any   []string
	least severityValue
}

// addFlags adds the flags; what says what they choose: policies or findings.
func (s *severityFlags) addFlags(flags *pflag.FlagSet, what string) {
	words := severityWords()
	flags.StringSliceVar(&s.any, "severity", nil, "only "+what+" of these `severities`: "+strings.Join(words, ", "))
	flags.Var(&s.least, "min-severity", "only "+what+" of this severity or worse")
	ofWords(flags, "severity", words...)
	ofWords(flags, "min-severity", words...)
}

// set reports whether anything was chosen.
func (s *severityFlags) set() bool { return len(s.any) > 0 || s.least.Severity != "" }

// wants reports whether a severity is chosen.
func (s *severityFlags) wants(severity engine.Severity) bool {
	return (len(s.any) == 0 || slices.Contains(s.any, string(severity))) && (s.least.Severity == "" || severity.AtLeast(s.least.Severity))
}

// check refuses words that name no severity, and writes the others as they are.
func (s *severityFlags) check() error {
	for i, word := range s.any {
		severity, err := engine.ParseSeverity(word)
		if err != nil {
			return engine.UsageError("read flag", "--severity", "Give any of "+strings.Join(severityWords(), ", ")+".", err)
		}
		s.any[i] = string(severity)
	}
	return nil
}

func severityWords() []string { return engine.Severity("").Words() }

// thresholdValue is a flag that holds a severity or "none".
type thresholdValue struct{ engine.Threshold }

func (t *thresholdValue) Set(text string) (err error) {
	t.Threshold, err = engine.ParseThreshold(text)
	return err
}

func (t *thresholdValue) Type() string { return "severity" }

// everything is the coverage wanted by default: no workspace may be missing.
const everything = 100

// What reading may cost by default: workspaces at once, waiting for each section.
const (
	defaultParallel    = 4
	accountParallel    = 16 // each workspace of an account has limits of its own
	defaultRetryBudget = 5 * time.Minute
)

// sourceOptions say which workspaces to read.
type sourceOptions struct {
	profiles []string
	from     []string
	empty    bool     // files without rows are meant
	shrink   []string // lists that may be far shorter than in the snapshot before
	caFile   string
	noProxy  bool
	parallel int
	retry    time.Duration
	request  requestOptions
	account  string     // profile of an account
	shard    shardValue // which of the workspaces; collect only
	found    *discovery // of the account; nil before it was asked, and without one

	configFile string // another .databrickscfg than the environment's
}

func (o *sourceOptions) addFlags(all *pflag.FlagSet) {
	inGroup(all, flagsConnection, func(flags *pflag.FlagSet) {
		flags.StringSliceVar(&o.profiles, "profile", nil, "`names` of profiles of .databrickscfg, whose workspaces are read (repeatable)")
		flags.StringVar(&o.account, "account", "", "read all workspaces of the account of this `profile`; `account:` in patrol.yaml says which")
		flags.StringArrayVar(&o.from, "from", nil, "read this `file` instead (- for standard input): the output of `databricks token-management list -o json` or `patrol tokens`, or a token report as CSV (repeatable)")
		flags.BoolVar(&o.empty, "accept-empty", false, "a file of --from without rows is a workspace without tokens")
		flags.StringSliceVar(&o.shrink, "accept-shrink", nil, "believe these `lists` although they lost a fifth or more since the snapshot before: "+strings.Join(shrinkable(), ", "))
		ofWords(flags, "accept-shrink", shrinkable()...)
		o.addConnection(flags)
		flags.IntVar(&o.parallel, "parallel", defaultParallel, "workspaces read at once (16 by default where an account lists them)")
		o.request.addFlags(flags)
		o.request.addWholeFlags(flags)
		flags.DurationVar(&o.retry, "retry-budget", defaultRetryBudget, "waiting that each section may cost when a workspace is busy or fails, and in sum each workspace (0s: never try again)")
	})
}

// shrinkable are the lists that --accept-shrink names.
func shrinkable() []string {
	var names []string
	for _, list := range collectors.Shrinkable() {
		names = append(names, string(list))
	}
	return names
}

// accepted are the lists that may have shrunk.
func (o *sourceOptions) accepted() ([]engine.SectionName, error) {
	var lists []engine.SectionName
	for _, name := range o.shrink {
		if !slices.Contains(shrinkable(), name) {
			return nil, engine.UsageError("read --accept-shrink", name, "Name the list that may be shorter: "+strings.Join(shrinkable(), ", ")+".", errors.New("is no list that is held against the snapshot before"))
		}
		lists = append(lists, engine.SectionName(name))
	}
	return lists, nil
}

// addConnection adds how workspaces are reached.
func (o *sourceOptions) addConnection(flags *pflag.FlagSet) {
	flags.StringVar(&o.caFile, "ca-file", "", "trust the certificates in this PEM `file` as well")
	flags.BoolVar(&o.noProxy, "no-proxy", false, "connect directly, whatever proxy HTTPS_PROXY names (NO_PROXY does so for some hosts)")
}

// judgeOptions say which policies judge, and as of when.
type judgeOptions struct {
	packs     []string
	packKey   string
	only      []string
	exclude   []string
	severity  severityFlags
	framework string
	asOf      instant
	whatIf    string
	failOn    thresholdValue
	except    exceptOptions

	minCoverage percentValue
	noPrefilter bool
}

// percentValue is a flag that holds a whole percentage.
type percentValue int

func (p *percentValue) String() string { return strconv.Itoa(int(*p)) }

func (p *percentValue) Set(text string) error {
	n, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
	if err != nil || n < 0 || n > 100 {
		return fmt.Errorf("%q is no whole percentage from 0 to 100", text)
	}
	*p = percentValue(n)
	return nil
}

func (p *percentValue) Type() string { return "percent" }

func (o *judgeOptions) addFlags(all *pflag.FlagSet) {
	inGroup(all, flagsJudging, func(flags *pflag.FlagSet) {
		o.failOn.Threshold = engine.FailOn(engine.Low)
		o.addSelection(flags)
		flags.Var(&o.asOf, "as-of", "judge as of this moment (default: when the newest snapshot was taken)")
		flags.StringVar(&o.whatIf, "what-if", "", "store the evaluation under this `name`, apart: it says what would be (implied by --as-of another day than now)")
		flags.Var(&o.failOn, "fail-on", "exit 1 on findings of this severity or worse: critical, high, medium, low, info, none")
		ofWords(flags, "fail-on", append(severityWords(), "none")...)
		o.minCoverage = everything
		flags.Var(&o.minCoverage, "min-coverage", "exit 4 when less than this percentage of the expected workspaces was read; those beyond it may be missing")
		o.except.addFlags(flags)
		flags.BoolVar(&o.noPrefilter, "no-prefilter", false, "run every policy on every token instead of asking first where it may fire; the results are the same")
	})
}

// addSelection adds the flags that choose policies, without those of judging.
func (o *judgeOptions) addSelection(all *pflag.FlagSet) {
	inGroup(all, flagsSelection, func(flags *pflag.FlagSet) {
		o.addPacks(flags)
		flags.StringSliceVar(&o.only, "only", nil, "only these policies: `ids` or aliases")
		flags.StringSliceVar(&o.exclude, "exclude", nil, "all policies but these: `ids` or aliases")
		o.severity.addFlags(flags, "policies")
		flags.StringVar(&o.framework, "framework", "", "only policies that serve this framework, or one control of it: `name[:control]`")
	})
}

// addPacks adds the flags that load more policies.
func (o *judgeOptions) addPacks(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&o.packs, "policy", "p", nil, "load the policies in this `directory` or OPA bundle (.tar.gz) too (repeatable)")
	flags.StringVar(&o.packKey, "policy-key", "", "bundles must be signed by this public key (PEM `file`)")
}

// narrowed reports whether some policies were left out by request.
func (o *judgeOptions) narrowed() bool {
	return len(o.only)+len(o.exclude) > 0 || o.severity.set() || o.framework != ""
}

// wholeFramework is the framework, or framework:control, whose policies all
// ran; "" where anything else narrowed the choice.
func (o *judgeOptions) wholeFramework() string {
	if len(o.only)+len(o.exclude) > 0 || o.severity.set() {
		return ""
	}
	return o.framework
}

// reportOptions say what to write, and where.
type reportOptions struct {
	formats []string
	dir     string
	output  string

	framework string // to show in the terminal

	metrics, tickets string
	noNotify         bool
}

func (o *reportOptions) addFlags(all *pflag.FlagSet) {
	inGroup(all, flagsOutput, func(flags *pflag.FlagSet) {
		flags.StringSliceVar(&o.formats, "format", []string{"csv", "xlsx", "html", "json"}, "`formats` of the report: "+strings.Join(formatNames(), ", "))
		ofWords(flags, "format", formatNames()...)
		flags.StringVar(&o.dir, "output-dir", "patrol-report", "write the reports into this `directory`; {date} and {time} in it are those of the run")
		flags.StringVarP(&o.output, "output", "o", "", "write one format to this `file` (- for standard output)")
		flags.StringVar(&o.metrics, "metrics", "", "write OpenMetrics to this `file`, for Prometheus' textfile collector")
		flags.StringVar(&o.tickets, "tickets", "", "write each failed finding as a ticket (JSON) into this `directory`")
	})
}

// addNotifyFlag is for commands that judge.
func (o *reportOptions) addNotifyFlag(all *pflag.FlagSet) {
	inGroup(all, flagsOutput, func(flags *pflag.FlagSet) {
		flags.BoolVar(&o.noNotify, "no-notify", false, "send nothing, whatever notify: in patrol.yaml says")
	})
}

func formatNames() []string {
	var names []string
	for _, format := range reports.Formats() {
		names = append(names, format.Name)
	}
	return names
}

// prepare resolves the formats and finds, before anything is collected, what
// would keep the reports from being written.
func (o *reportOptions) prepare(origin string, now time.Time) ([]reports.Format, error) {
	o.dir = strings.NewReplacer("{date}", now.UTC().Format(time.DateOnly), "{time}", now.UTC().Format("150405")).Replace(o.dir)
	if strings.ContainsAny(o.dir, "{}") {
		return nil, engine.UsageError("read flag", "--output-dir", "{date} and {time} stand for the day and the time of the run, in UTC.", fmt.Errorf("%q holds another name in braces", o.dir))
	}
	formats, err := o.choose(origin)
	if err != nil {
		return nil, err
	}
	if o.metrics != "" {
		if err := outfile.Check(o.metrics); err != nil {
			return nil, err
		}
	}
	if o.tickets != "" {
		if err := outfile.CheckDir(o.tickets); err != nil {
			return nil, err
		}
	}
	if o.output != "" {
		return formats, checkOutput(o.output)
	}
	if o.dir == "" {
		return nil, engine.UsageError("read flag", "--output-dir", "Name a directory; . is the one you are in.", errors.New("is empty"))
	}
	if err := outfile.CheckDir(o.dir); err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.dir); errors.Is(err, fs.ErrNotExist) {
		return formats, nil
	}
	for _, format := range formats {
		if err := checkOutput(filepath.Join(o.dir, format.File)); err != nil {
			return nil, err
		}
	}
	return formats, nil
}

// choose resolves the formats. With --output there must be one: the one asked
// for, else the one whose file ends alike.
// Several formats of the environment or the configuration are those of a whole
// report, of which an output file asks for one.
func (o *reportOptions) choose(origin string) ([]reports.Format, error) {
	typed := origin == "flag --format"
	if o.output == "" {
		return lookupFormats(o.formats)
	}
	if origin != "default" && len(o.formats) == 1 {
		return lookupFormats(o.formats)
	}
	if typed {
		return nil, engine.UsageError("read flag", "--output", "Name one format with --format, or use --output-dir for several.",
			fmt.Errorf("one file cannot hold %d formats", len(o.formats)))
	}
	if format, ok := byEnding(o.output); ok {
		return []reports.Format{format}, nil
	}
	return nil, engine.UsageError("read flag", "--output", "Name the format with --format.",
		fmt.Errorf("no format is known by the ending of %q", o.output))
}

// byEnding finds the format whose file ends as a path does: out.ocsf.json is
// OCSF, any other .json is the audit itself.
func byEnding(path string) (found reports.Format, ok bool) {
	longest := 0
	for _, format := range reports.Formats() {
		_, ending, _ := strings.Cut(format.File, ".")
		if len(ending) > longest && strings.HasSuffix(strings.ToLower(path), "."+ending) {
			found, ok, longest = format, true, len(ending)
		}
	}
	return found, ok
}

func lookupFormats(names []string) ([]reports.Format, error) {
	var formats []reports.Format
	for _, name := range names {
		format, err := reports.Lookup(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		formats = append(formats, format)
	}
	return formats, nil
}

// folder is where reports are written.
func (o *reportOptions) folder() string {
	if o.output == "" {
		return o.dir
	}
	return filepath.Dir(o.output)
}
