package remedy

import (
	"fmt"
	"strings"

	"patrol/engine"
)

// Comment renders foreign text as comment lines of a script or of HCL.
func Comment(b *strings.Builder, indent, format string, args ...any) {
	fmt.Fprintf(b, "%s# %s\n", indent, strings.TrimRight(engine.SafeText(fmt.Sprintf(format, args...)), " "))
}

// ASCII keeps a command on one line of visible characters.
func ASCII(value any) string {
	var b strings.Builder
	for _, r := range string(engine.CompactJSON(value)) {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// ShellQuote quotes for any POSIX shell. No character acts within single
// quotes; those that would break the line are shown instead of meant.
func ShellQuote(text string) string {
	return "'" + strings.ReplaceAll(engine.SafeText(text), "'", `'\''`) + "'"
}

// HCLQuote quotes a string so that nothing in it is a template.
func HCLQuote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range text {
		next := text[i+len(string(r)):]
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case (r == '$' || r == '%') && strings.HasPrefix(next, "{"):
			b.WriteRune(r)
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case r >= 0x80:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
