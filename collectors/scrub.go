package collectors

import (
	"regexp"
	"strings"

	"patrol/engine"
)

// secretShapes are texts that are credentials whatever they belong to.
var secretShapes = regexp.MustCompile(`(?i)\b(?:dapi|dkea|dose)[0-9a-f]{32}(?:-\d+)?` +
	`|\beyJ[\w-]+\.[\w-]+\.[\w-]*` +
	`|\bauthorization\s*[:=]\s*(?:(?:bearer|basic)\s+)?\S+` +
	`|\b(?:bearer|basic)\s+[\w.~+/=-]{8,}`)

// scrubber takes credentials out of texts that others wrote.
type scrubber struct{ secrets []string }

const scrubbed = "***"

func (s scrubber) text(text string) string {
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret, scrubbed)
	}
	return engine.RedactSecrets(secretShapes.ReplaceAllString(text, scrubbed))
}

// excerpt is the beginning of a foreign text, harmless and on one line.
func (s scrubber) excerpt(text string) string {
	const most = 240
	text = strings.Join(strings.Fields(s.text(text)), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return engine.SafeText(text)
}
