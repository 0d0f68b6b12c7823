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
		"github.com/coreos/go-systemd/v22",
		"docs/upstream-faults.md", "cmd/peer/origins/",
		"pinsvc_ready_seconds", "pinsvc_ipfs_restarts_total",
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
