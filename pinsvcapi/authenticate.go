package pinsvcapi

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/rs/cors"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/auth"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// userSet is the configured users and what depends on them. It is immutable;
// a reload replaces it as a whole.
type userSet struct {
	auth *auth.Authenticator // nil: nobody needs to log in
	// cors depends on the users: without any, pages of every origin may only
	// read (see config.CORSOptions).
	cors *cors.Cors
}

// newUserSet makes the set of cfg.
func newUserSet(cfg *config.Config) (*userSet, error) {
	users := &userSet{cors: cors.New(cfg.CORSOptions())}
	if len(cfg.BasicAuthCredentials) == 0 {
		return users, nil
	}
	var err error
	if users.auth, err = auth.New(cfg.BasicAuthCredentials); err != nil {
		return nil, fmt.Errorf("api.pinsvcapi.basic_auth_credentials: %w", err)
	}
	return users, nil
}

// authenticate finds out who calls. OPTIONS on a known path is open: its
// response is the same for everybody.
func (api *API) authenticate(rq *request, r *http.Request) error {
	if rq.users.auth == nil || rq.isOpen(r.Method) {
		return nil
	}
	authorization := r.Header.Get("Authorization")
	if err := api.logins.check(rq.limits, authorization); err != nil {
		return err
	}
	caller, ok, err := rq.users.auth.Authenticate(authorization)
	if err != nil {
		return fmt.Errorf("authenticating: %w", err)
	}
	rq.caller = caller
	if ok {
		api.logins.succeeded(authorization)
		return nil
	}
	if authorization != "" {
		api.loginFailed(rq)
	}
	return pinsvc.Errorf(pinsvc.KindUnauthorized, "%s", caller.Refusal)
}

// isOpen reports whether the request needs no credentials. Unknown paths need
// them, but not those outside of base_path, which are not this service's.
func (rq *request) isOpen(method string) bool {
	m := &rq.route
	known := m.endpoint.handle != nil
	return m.outside || known && !m.endpoint.policy.credentials || method == http.MethodOptions && m.allow != nil
}

// withoutToken hides a token that was sent as a user name, as clients of other
// services do (curl -u TOKEN:). The token may be valid.
func withoutToken(name string) string {
	if strings.HasPrefix(name, "eyJ") && strings.Count(name, ".") == 2 {
		return "(a token)"
	}
	return name
}

// loginFailed logs and counts a failed login.
func (api *API) loginFailed(rq *request) {
	rq.event.TriedUser = clip(withoutToken(rq.caller.Claimed))
	api.metrics.failedLogins.Inc()
	api.logins.failed(rq.limits)
	logger.Warnf("login failed: user %q from %s: %s (request %s)", rq.event.TriedUser, rq.client, rq.caller.Refusal, rq.id)
}

// challenges are the WWW-Authenticate headers of a 401: the schemes that the
// client may log in with.
func challenges(rq *request) []string {
	const realm = `realm="IPFS Pinning Service"`
	bearer := "Bearer " + realm
	if rq.caller.TokenRefused {
		bearer += `, error="invalid_token", error_description="` + rq.caller.Refusal + `"`
	}
	return []string{bearer, "Basic " + realm + `, charset="UTF-8"`}
}
