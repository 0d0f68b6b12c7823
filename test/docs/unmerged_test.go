package docs

import "testing"

// unmerged are names that the documents use and that other branches bring.
// A name that exists must not be listed: the test that finds it fails and says
// so. The file goes when the list is empty.
func unmerged(name string) bool {
	switch name {
	case
		"CLUSTER_SECRET_FILE", "CLUSTER_PRIVATEKEY_FILE", "CLUSTER_RESTAPI_BASICAUTHCREDENTIALS_FILE",
		"CLUSTER_RESTAPI_PRIVATEKEY_FILE",
		"GET /", "GET /webui",
		"github.com/coreos/go-systemd/v22", "golang.org/x/time",
		"docs/upstream-faults.md", "cmd/peer/origins/", "pinsvcapi/ratelimit/",
		"pinsvcapi_request_failures_total", "pinsvcapi_requests_by_source_total", "pinsvcapi_streams_open",
		"pinsvcapi_stream_duration_seconds", "pinsvcapi_failed_logins_total", "pinsvcapi_reloads_total",
		"pinsvc_ready_seconds", "pinsvc_ipfs_restarts_total",
		// Texts.
		"is not an address of this computer, and a service without users is for programs on this computer only",
		"too many logins from this address have failed; check the user, the password or the token, and try again later",
		"is not known and has no effect":
		return true
	}
	return false
}

// exists fails the test unless the name exists, or is yet to come.
func exists(t *testing.T, path, what, name string, there bool) {
	t.Helper()
	switch {
	case there && unmerged(name):
		t.Errorf("%s exists now: remove it from unmerged in test/docs/unmerged_test.go", name)
	case !there && !unmerged(name):
		t.Errorf("%s: there is no %s %s", path, what, name)
	}
}
