package main

import (
	"iter"
	"os"

	"patrol/engine"
	"patrol/engine/outfile"

	"github.com/spf13/pflag"
)

// guardOptions say how what leaves the database is kept from its readers.
type guardOptions struct {
	keyFile string
}

func (o *guardOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.keyFile, "pseudonymise", "", "put pseudonyms in place of the names of people: HMAC-SHA256 with the key in this `file`")
}

// guard is what the options come to.
type guard struct {
	files      outfile.Files
	pseudonyms *engine.Pseudonyms // nil: names stay
}

// read checks the options: what is asked to be guarded is never written without.
func (o *guardOptions) read() (g guard, err error) {
	if o.keyFile == "" {
		return g, nil
	}
	const hint = "Make a key once, and keep it secret: (umask 077; head -c 32 /dev/urandom > names.key)"
	key, err := os.ReadFile(o.keyFile)
	if err != nil {
		return g, engine.UsageError("read key", o.keyFile, hint, err)
	}
	if g.pseudonyms, err = engine.NewPseudonyms(key); err != nil {
		return g, engine.UsageError("read key", o.keyFile, hint, err)
	}
	return g, nil
}

// check reports whether the file that is made for a path could be written;
// standard output always can.
func (g guard) check(path string) error {
	if path == "-" {
		return nil
	}
	return outfile.Check(path)
}

func (g guard) report(r engine.Report) (engine.Report, error) {
	if g.pseudonyms == nil {
		return r, nil
	}
	return r.Pseudonymised(g.pseudonyms)
}

func (g guard) rows(rows iter.Seq2[engine.TokenRow, error]) iter.Seq2[engine.TokenRow, error] {
	if g.pseudonyms == nil {
		return rows
	}
	return func(yield func(engine.TokenRow, error) bool) {
		for row, err := range rows {
			if !yield(row.Pseudonymised(g.pseudonyms), err) {
				return
			}
		}
	}
}
