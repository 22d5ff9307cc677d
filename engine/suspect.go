package engine

import "encoding/json"

// ClockHoursOff is the key of the workspace section under which a snapshot says
// by how many whole hours the clock of the collecting machine was ahead of the
// workspace's, or (negative) behind it. It is absent within an hour.
const ClockHoursOff = "clock_hours_off"

// HoursOff is what a snapshot has under ClockHoursOff; 0 when nothing.
func (s Snapshot) HoursOff() int {
	var told struct {
		Hours int `json:"clock_hours_off"`
	}
	if json.Unmarshal(s.Documents[SectionWorkspace], &told) != nil {
		return 0
	}
	return told.Hours
}

// keptAtLeast is the percentage of the rows of the whole list before that a list
// must still hold to be believed.
const keptAtLeast = 80

// Shrunk compares the numbers of rows of two whole lists. One row less may be
// one row less, unless it was the last.
func Shrunk(before, now int) bool {
	return 100*now < keptAtLeast*before && (now == 0 || before-now > 1)
}
