package peer

import (
	"maps"
	"testing"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
)

func TestRPCPolicy_LeavesTheDefaultAlone(t *testing.T) {
	before := maps.Clone(ipfscluster.DefaultRPCPolicy)
	policy := rpcPolicy(ipfscluster.DefaultRPCPolicy)
	if !maps.Equal(ipfscluster.DefaultRPCPolicy, before) {
		t.Error("the policy of every configuration of the process has changed")
	}
	for method, who := range policy {
		want := before[method]
		if method == "Cluster.PinGet" {
			want = ipfscluster.RPCTrusted
		}
		if who != want {
			t.Errorf("%s is for %v, want %v", method, who, want)
		}
	}
	if len(policy) != len(before) {
		t.Errorf("%d methods, want %d", len(policy), len(before))
	}
}
