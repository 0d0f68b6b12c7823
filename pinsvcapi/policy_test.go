package pinsvcapi

import (
	"slices"
	"testing"
)

// The table is the promise about every endpoint: a change here is a change of
// the API.
func TestEndpoints_Policies(t *testing.T) {
	want := map[string]struct {
		scope       scope
		cost        int
		credentials bool
		readiness   readiness
		body, forms bool
	}{
		"GET /pins":                {"pins:read", 1, true, waitReady, false, false},
		"POST /pins":               {"pins:write", 10, true, needReady, true, true},
		"GET /pins/{requestid}":    {"pins:read", 1, true, needReady, false, false},
		"POST /pins/{requestid}":   {"pins:write", 10, true, needReady, true, true},
		"DELETE /pins/{requestid}": {"pins:delete", 10, true, needReady, false, false},
		"POST /token":              {"tokens:write", 1, true, needReady, true, false},
		"GET /health":              {"none", 0, false, anyTime, false, false},
		"GET /ready":               {"none", 0, false, needReady, false, false},
		"GET /openapi.yaml":        {"none", 0, false, needReady, false, false},
		"GET /":                    {"none", 0, false, anyTime, false, false},
		"GET /webui":               {"none", 0, false, anyTime, false, false},
	}
	for _, e := range endpoints() {
		key := e.method + " " + e.path
		w, ok := want[key]
		if !ok {
			t.Errorf("%s has no row here", key)
			continue
		}
		delete(want, key)
		p := e.policy
		if p.scope != w.scope || p.cost != w.cost || p.credentials != w.credentials || p.readiness != w.readiness ||
			p.body.accepted != w.body || p.body.forms != w.forms {
			t.Errorf("%s has the policy %+v, want %+v", key, p, w)
		}
		if p.streams || p.body.types != nil || p.body.maxBytes != 0 || p.body.readTimeout != 0 {
			t.Errorf("%s has the policy %+v, want no stream and the limits of the configuration", key, p)
		}
	}
	for key := range want {
		t.Errorf("there is no %s", key)
	}
}

// An endpoint whose scope is none needs no credentials, and the other way
// round, else a token could grant nothing.
func TestEndpoints_ScopesAndCredentialsAgree(t *testing.T) {
	names := make(map[string]bool)
	for _, e := range endpoints() {
		if (e.policy.scope == scopeNone) == e.policy.credentials {
			t.Errorf("%s: scope %s, credentials %t", e.name, e.policy.scope, e.policy.credentials)
		}
		if names[e.name] {
			t.Errorf("two routes are called %s", e.name)
		}
		names[e.name] = true
	}
	if !slices.IsSorted(extensions()) {
		t.Errorf("extensions %q", extensions())
	}
}
