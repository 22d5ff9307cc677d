package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

	"patrol/engine"
)

const (
	ipAccessPath       = "/api/2.0/ip-access-lists"
	sectionIPAccess    = engine.SectionIPAccessLists
	hintIPAccessAbsent = "IP access lists are not available in this workspace: they take the Premium plan or above."
)

// IPAccessLists reads from which addresses the workspace can be reached.
func (set) IPAccessLists() Collector {
	return Collector{
		Section: sectionIPAccess,
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
		return failed(problem.absent(hintIPAccessAbsent))
	}
	lists := []ipAccessList{}
	var t tally
	for i, raw := range rows {
		list, reason := readIPAccessList(raw)
		if reason != "" {
			t.add(reason, "list %d has no type, state or addresses that can be read", i+1)
		}
		lists = append(lists, list)
	}
	slices.SortFunc(lists, func(a, b ipAccessList) int { return cmp.Or(cmp.Compare(a.Label, b.Label), cmp.Compare(a.ID, b.ID)) })
	return engine.Section{Coverage: t.coverage(len(lists)), Document: document(lists)}
}

func readIPAccessList(raw json.RawMessage) (list ipAccessList, reason string) {
	o, ok := parseObject(raw)
	if !ok {
		return list, reasonBadType
	}
	var enabled *bool
	var oks [5]bool
	list.ID, oks[0] = asText(o.members["list_id"])
	list.Label, oks[1] = asText(o.members["label"])
	list.Type, oks[2] = asText(o.members["list_type"])
	list.Addresses, oks[3] = asTexts(o.members["ip_addresses"])
	enabled, oks[4] = asBool(o.members["enabled"])
	switch {
	case oks != [5]bool{true, true, true, true, true}, slices.ContainsFunc(list.Addresses, notAnAddress):
		return list, reasonBadType
	case list.Type == "" || enabled == nil:
		return list, reasonMissing
	}
	if list.Addresses == nil {
		list.Addresses = []string{}
	}
	list.Enabled = *enabled
	return list, ""
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

// absent is the problem of a call that this workspace does not have.
func (p *Problem) absent(hint string) *Problem {
	if p.Reason == reasonNotFound || p.Reason == reasonFeatureDisabled {
		p.Status, p.Reason, p.Hint = engine.Disabled, reasonFeatureDisabled, hint
	}
	return p
}
