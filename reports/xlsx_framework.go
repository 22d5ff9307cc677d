package reports

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf16"

	"patrol/engine"
	"patrol/reports/table"
)

// frameworks writes a worksheet for each framework.
func (b *book) frameworks(ctx context.Context, r engine.Report, l *leads) error {
	for _, f := range r.Frameworks() {
		if err := fillLinked(ctx, b, b.freeTab(f.Name), controlColumns(r.Policies), table.Known(f.Controls), l.control); err != nil {
			return err
		}
	}
	return nil
}

// tabUnits is how long the name of a worksheet may be.
const tabUnits = 31

// freeTab makes a name for a worksheet of a framework's name, which a foreign
// policy may have made up: no character that Excel refuses, no name that is
// taken or reserved.
func (b *book) freeTab(name string) string {
	clean := strings.Trim(strings.Map(tabRune, engine.SafeText(name)), "' ")
	if clean == "" || strings.EqualFold(clean, "history") {
		clean = strings.TrimSpace("Framework " + clean)
	}
	for n := 1; ; n++ {
		number := ""
		if n > 1 {
			number = fmt.Sprintf(" (%d)", n)
		}
		tab := cutUnits(clean, tabUnits-len(number)) + number
		if index, err := b.file.GetSheetIndex(tab); err == nil && index < 0 {
			return tab
		}
	}
}

func tabRune(r rune) rune {
	if strings.ContainsRune(`:\/?*[]`, r) {
		return '_'
	}
	return r
}

func cutUnits(text string, units int) string {
	for i, r := range text {
		if units -= utf16.RuneLen(r); units < 0 {
			return text[:i]
		}
	}
	return text
}
