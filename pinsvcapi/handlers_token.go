package pinsvcapi

import (
	"net/http"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// issueToken is POST /token.
func (api *API) issueToken(rq *request, _ *http.Request) (response, error) {
	if rq.users.auth == nil {
		return response{}, pinsvc.Errorf(pinsvc.KindForbidden,
			"this service has no users (basic_auth_credentials), so there are no tokens: any token is accepted")
	}
	token, err := rq.users.auth.Issue(rq.caller)
	if err != nil {
		return response{}, err
	}
	// Its first use must not depend on who else tries passwords from the same address.
	api.logins.succeeded("Bearer " + token)
	resp, err := jsonResponse(http.StatusOK, map[string]string{"token": token})
	// RFC 6749, 5.1: responses with tokens must not be cached.
	resp.header = http.Header{"Cache-Control": {"no-store"}}
	return resp, err
}
