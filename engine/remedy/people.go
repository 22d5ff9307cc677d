package remedy

import "patrol/engine"

// Notify tells the owner of a token, or who runs a workspace, what is to be done.
func (set) Notify() Remedy {
	return Remedy{
		Name: engine.Notify, Rank: 0, For: []engine.Resource{engine.ResourceToken, engine.ResourceWorkspace, engine.ResourceSecret}, Safe: "changes nothing",
		Doc: "Tells the owner what is wrong. Nothing is changed.", Owner: "Please look at it.", Token: forPeople,
	}
}

// Manual is for a person to do.
func (set) Manual() Remedy {
	return Remedy{
		Name: engine.Manual, Rank: 1, For: []engine.Resource{engine.ResourceToken, engine.ResourceWorkspace, engine.ResourceSecret}, Safe: "changes nothing",
		Doc: "Is for a person to do. Nothing is changed.", Owner: "Please look at it.", Token: forPeople,
	}
}

func forPeople(Case) (Proposal, string) { return Proposal{Expected: map[string]any{}}, "" }
