package main

import "testing"

// Colours are for a terminal that knows them, and for nobody who said no.
func TestColor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		terminal, off bool
		variables     map[string]string
		want          bool
	}{
		"terminal":         {terminal: true, want: true},
		"pipe":             {want: false},
		"--no-color":       {terminal: true, off: true, want: false},
		"NO_COLOR":         {terminal: true, variables: map[string]string{"NO_COLOR": "1"}, want: false},
		"an empty one":     {terminal: true, variables: map[string]string{"NO_COLOR": ""}, want: true},
		"a dumb terminal":  {terminal: true, variables: map[string]string{"TERM": "dumb"}, want: false},
		"another terminal": {terminal: true, variables: map[string]string{"TERM": "xterm-256color"}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			e := &env{stdoutTerminal: c.terminal, lookup: func(key string) (string, bool) {
				text, set := c.variables[key]
				return text, set
			}}
			if got := e.color(c.off); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
