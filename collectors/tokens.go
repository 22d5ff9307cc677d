package collectors

import (
	"context"

	"patrol/engine"
)

const tokensPath = "/api/2.0/token-management/tokens"

// Tokens reads every personal access token of the workspace: the list for
// admins, since the list of one's own tokens would miss everybody else's.
func (set) Tokens() Collector {
	return Collector{
		Section: engine.SectionTokens,
		Doc:     "every personal access token of the workspace",
		Calls:   []string{"GET " + tokensPath},
		Rights:  "workspace admin; Premium plan or above",
		Order:   20,
		First:   true,
		Read:    readTokens,
	}
}

func readTokens(ctx context.Context, c *Client) engine.Section {
	answer, problem := c.Get(ctx, tokensPath, nil, tokensLimit)
	if problem != nil {
		return failed(problem)
	}
	c.session.keep(answer.body) // rows are read from it until the outcome is closed
	list, problem := readTokenList("GET "+tokensPath, answer.body, windowAt(c.now()))
	if problem != nil {
		return failed(problem)
	}
	if list.bare {
		return failed(badBody("GET %s: the answer is a bare list, which no workspace gives", tokensPath))
	}
	c.tellStrange(list.strange)
	return list.section(list.whole())
}
