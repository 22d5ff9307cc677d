package collectors

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"patrol/engine"
)

const (
	ipAccessPath       = "/api/2.0/ip-access-lists"
	hintIPAccessAbsent = "IP access lists are not available in this workspace: they take the Premium plan or above."
)

// IPAccessLists reads from which addresses the workspace can be reached.
func (set) IPAccessLists() Collector {
	return Collector{
		Section: engine.SectionIPAccessLists,
		Doc:     "lists of addresses from which the workspace may, or may not, be reached",
		Calls:   []string{"GET " + ipAccessPath},
		Rights:  "workspace admin; Premium plan or above",
		Scopes:  []string{"networking:read"},
		Order:   60,
		Read:    readIPAccessLists,
	}
}

// ipAccessList is one list in the section's document.
type ipAccessList struct {
	Addresses []string `json:"addresses"`
	Enabled   bool     `json:"enabled"`
	ID        string   `json:"id"`
	Label     string   `json:"label"`
	Type      string   `json:"type"` // ALLOW, BLOCK
}

func readIPAccessLists(ctx context.Context, c *Client) engine.Section {
	rows, _, problem := c.getList(ctx, ipAccessPath, nil, "ip_access_lists")
	if problem != nil {
		return failed(problem.hinted("", hintIPAccessAbsent))
	}
	lists, t := []ipAccessList{}, tally{}
	for i, raw := range rows {
		r := newListRow(raw)
		enabled := r.truth("enabled")
		list := ipAccessList{
			Addresses: append([]string{}, r.texts("ip_addresses")...), Enabled: enabled != nil && *enabled,
			ID: r.text("list_id"), Label: r.text("label"), Type: r.text("list_type"),
		}
		r.must(!slices.ContainsFunc(list.Addresses, notAnAddress), reasonBadType)
		r.must(list.Type != "" && enabled != nil, reasonMissing)
		if r.reason != "" {
			t.add(r.reason, "list %d has no type, state or addresses that can be read", i+1)
			list.Enabled = false
		}
		lists = append(lists, list)
	}
	slices.SortFunc(lists, func(a, b ipAccessList) int { return cmp.Or(cmp.Compare(a.Label, b.Label), cmp.Compare(a.ID, b.ID)) })
	return engine.Section{Coverage: t.coverage(len(lists)), Document: document(lists)}
}

// notAnAddress holds for what is neither an address nor a range of them.
func notAnAddress(text string) bool {
	if strings.Contains(text, "/") {
		_, err := netip.ParsePrefix(text)
		return err != nil
	}
	_, err := netip.ParseAddr(text)
	return err != nil
}
