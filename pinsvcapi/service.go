package pinsvcapi

import (
	_ "embed"
	"net/http"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// challenges are the WWW-Authenticate headers of a 401: what a client that is
// a person or a program may log in with.
func challenges(x *exchange) []string {
	const realm = `realm="IPFS Pinning Service"`
	bearer := "Bearer " + realm
	if x.caller.TokenRefused {
		bearer += `, error="invalid_token", error_description="` + x.caller.Refusal + `"`
	}
	return []string{bearer, "Basic " + realm + `, charset="UTF-8"`}
}

// issueToken is POST /token.
func (api *API) issueToken(x *exchange, _ *http.Request) (answer, error) {
	if api.auth == nil {
		return answer{}, pinsvc.Errorf(pinsvc.KindForbidden,
			"this service has no users (basic_auth_credentials), so there are no tokens: any token is accepted")
	}
	token, err := api.auth.Issue(x.caller)
	if err != nil {
		return answer{}, err
	}
	a, err := mapAnswer(http.StatusOK, map[string]string{"token": token})
	// RFC 6749, 5.1: what carries a token is not to be kept on the way.
	a.header = http.Header{"Cache-Control": {"no-store"}}
	return a, err
}

// showHealth is GET /health: that it answers is what it says.
func (api *API) showHealth(*exchange, *http.Request) (answer, error) {
	return mapAnswer(http.StatusOK, map[string]string{"status": "alive", "version": api.opts.Version})
}

// showReady is GET /ready. That the backend is ready was seen before.
func (api *API) showReady(x *exchange, _ *http.Request) (answer, error) {
	if err := unavailable(x.backend.Health(), "something that the service depends on is away; its log says what"); err != nil {
		return answer{}, err
	}
	return mapAnswer(http.StatusOK, map[string]string{"status": "ready"})
}

// openAPI describes all that this package serves. Tests hold every answer
// against it.
//
//go:embed openapi.yaml
var openAPI []byte

// showOpenAPI is GET /openapi.yaml.
func (api *API) showOpenAPI(*exchange, *http.Request) (answer, error) {
	return answer{status: http.StatusOK, contentType: "application/yaml", body: openAPI}, nil
}
