package reports

import "patrol/engine"

// exceptionsJSON has a list of waivers even where there are none.
func exceptionsJSON(x engine.Exceptions) engine.Exceptions {
	if x.Waivers == nil {
		x.Waivers = []engine.WaiverUse{}
	}
	return x
}
