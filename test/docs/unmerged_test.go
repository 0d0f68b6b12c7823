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
		"github.com/hashicorp/golang-lru/v2", "github.com/coreos/go-systemd/v22", "github.com/mr-tron/base58", "golang.org/x/time",
		"docs/upstream-faults.md", "cmd/peer/origins/", "pinsvcapi/ratelimit/",
		"pinsvcapi_request_failures_total", "pinsvcapi_requests_by_source_total", "pinsvcapi_streams_open",
		"pinsvcapi_stream_duration_seconds", "pinsvcapi_failed_logins_total", "pinsvcapi_reloads_total",
		"pinsvc_ready_seconds", "pinsvc_ipfs_restarts_total",
		// Texts.
		"waiting for the IPFS node of a peer: it is unavailable",
		"waiting for the IPFS node of a peer: it did not respond in time",
		"waiting for room in a peer's pin queue (pin_tracker.stateless.max_pin_queue_size)",
		"the IPFS node of a peer does not have the content yet; it is being fetched",
		"no data for 2m0s (ipfs_connector.ipfshttp.pin_timeout), attempt 1 of 3; next attempt in 10s",
		"no data for 2m0s (ipfs_connector.ipfshttp.pin_timeout), attempt 3 of 3",
		"a shard of the content failed: no data for 2m0s (ipfs_connector.ipfshttp.pin_timeout), attempt 3 of 3",
		"is not an address of this computer, and a service without users is for programs on this computer only",
		"this peer is in follower mode (cluster.follower_mode): it serves the pinset but cannot change it",
		"the CID belongs to sharded content that the cluster holds, and cannot be pinned by itself",
		"too many logins from this address have failed; check the user, the password or the token, and try again later",
		"the IPFS node does not respond",
		"not enough peers available for cluster.replication_factor_min: 3 needed, 1 available",
		"not enough peers with free space for cluster.replication_factor_min: 2 needed, 1 of 3 peers report free space (Datastore.StorageMax of the IPFS node)",
		"the cluster's write queue is full (consensus.crdt.batching.max_queue_size)",
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
