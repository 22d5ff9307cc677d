package reports

import (
	"iter"
	"slices"
	"time"

	"patrol/engine"
)

// bucket is a bar of a chart.
type bucket struct {
	label string
	count int
}

// population counts tokens for the charts, as their rows stream by.
type population struct {
	asOf   time.Time
	age    []bucket
	idle   []bucket
	expiry []bucket // by month
}

// monthsAhead is how far the calendar of expiries reaches: new tokens live for
// two years at most.
const monthsAhead = 25

func newPopulation(asOf time.Time) *population {
	p := &population{asOf: asOf.UTC()}
	p.age = buckets("up to 30 days", "31 to 90", "91 to 180", "181 to 365", "366 to 730", "over 730", "unknown")
	p.idle = buckets("up to 7 days", "8 to 30", "31 to 60", "61 to 89", "90 and more", "never used", "unknown")
	p.expiry = buckets("expired")
	first := time.Date(p.asOf.Year(), p.asOf.Month(), 1, 0, 0, 0, 0, time.UTC)
	for month := range monthsAhead {
		p.expiry = append(p.expiry, bucket{label: first.AddDate(0, month, 0).Format("2006-01")})
	}
	p.expiry = append(p.expiry, buckets("later", "never", "unknown")...)
	return p
}

// months are the bars of the calendar without empty months behind the last one in
// which a token ends.
func (p *population) months() []bucket {
	last := len(p.expiry) - 3 // later, never, unknown
	end := last
	for end > 2 && p.expiry[end-1].count == 0 && p.expiry[last].count == 0 {
		end--
	}
	return append(slices.Clone(p.expiry[:end]), p.expiry[last:]...)
}

func buckets(labels ...string) []bucket {
	list := make([]bucket, len(labels))
	for i, label := range labels {
		list[i].label = label
	}
	return list
}

// watch counts rows on their way.
func (p *population) watch(rows iter.Seq2[engine.TokenRow, error]) iter.Seq2[engine.TokenRow, error] {
	return func(yield func(engine.TokenRow, error) bool) {
		for row, err := range rows {
			if err == nil {
				p.add(row)
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

func (p *population) add(t engine.TokenRow) {
	p.age[rangeOf(t.Facts.AgeDays, 30, 90, 180, 365, 730)].count++
	p.idle[idleBucket(t.Facts)].count++
	p.expiry[p.expiryBucket(t)].count++
}

// rangeOf is the place of a number among limits, each the last of its range;
// the place after the last range is for the unknown.
func rangeOf(days *int64, limits ...int64) int {
	if days == nil {
		return len(limits) + 1
	}
	for i, limit := range limits {
		if *days <= limit {
			return i
		}
	}
	return len(limits)
}

func idleBucket(f engine.Facts) int {
	if f.Used == nil || f.IdleDays == nil {
		return 6
	}
	if !*f.Used {
		return 5
	}
	return rangeOf(f.IdleDays, 7, 30, 60, 89)
}

func (p *population) expiryBucket(t engine.TokenRow) int {
	last := len(p.expiry) - 1
	switch {
	case t.Facts.NeverExpires == nil:
		return last
	case *t.Facts.NeverExpires:
		return last - 1
	case *t.Facts.Expired:
		return 0
	}
	end := time.UnixMilli(*t.Token.Expires).UTC()
	months := (end.Year()-p.asOf.Year())*12 + int(end.Month()) - int(p.asOf.Month())
	return 1 + min(max(months, 0), monthsAhead)
}
