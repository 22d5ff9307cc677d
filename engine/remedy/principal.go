package remedy

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"patrol/engine"
)

const directoryPath = "/api/2.0/preview/scim/v2/"

var errOtherPrincipal = errors.New("the answer is about another principal")

// ReadPrincipal asks the workspace of a step for one principal by its id, as a
// user and as a service principal, the likelier first. It is Missing when the
// directory itself says of both that there is none; every other refusal is a
// fault, of which nothing follows.
func (p Parsers) ReadPrincipal(ctx context.Context, c engine.Client, s engine.Step, id string, likely engine.Kind) (engine.Principal, error) {
	kinds := []engine.Kind{engine.User, engine.ServicePrincipal}
	if likely == engine.ServicePrincipal {
		slices.Reverse(kinds)
	}
	for _, kind := range kinds {
		target := directoryPath + "Users/" + url.PathEscape(id)
		if kind == engine.ServicePrincipal {
			target = directoryPath + "ServicePrincipals/" + url.PathEscape(id)
		}
		r, absent, err := get(ctx, c, s, target)
		var fault *engine.Fault
		if errors.As(err, &fault) && fault.Kind == engine.FaultEndpoint && noSuchResource(r) {
			absent, err = true, nil
		}
		if err != nil {
			return engine.Principal{}, err
		}
		if absent {
			continue
		}
		principal, err := p.Principal(r.Body, kind)
		if err == nil && principal.ID != id {
			err = errOtherPrincipal
		}
		if err != nil {
			return engine.Principal{}, unreadable("GET "+target, err)
		}
		return principal, nil
	}
	return engine.Principal{ID: id, Kind: engine.Missing}, nil
}

// noSuchResource is how a SCIM directory says that it does not hold a resource.
func noSuchResource(r engine.Response) bool {
	var wire struct {
		Schemas []string `json:"schemas"`
		Status  any      `json:"status"` // text, or a number
	}
	return r.Status == http.StatusNotFound && isJSON(r) && json.Unmarshal(r.Body, &wire) == nil &&
		slices.Contains(wire.Schemas, "urn:ietf:params:scim:api:messages:2.0:Error") && (wire.Status == "404" || wire.Status == 404.0)
}
