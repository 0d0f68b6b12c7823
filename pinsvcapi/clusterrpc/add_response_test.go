package clusterrpc_test

import (
	"testing"

	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// An earlier write that failed and takes effect late, or a state that lags behind what was
// written, is not what a response tells of.
func TestAdd_TheResponseHasWhatTheRequestWrote(t *testing.T) {
	const key = 1
	origin := multiaddr.StringCast("/ip4/192.0.2.1/tcp/4001")
	for _, late := range []pinsvc.Pin{
		{CID: pinsvctest.RawCID(key), Name: "late"},
		{CID: pinsvctest.RawCID(key), Name: "asked", Meta: map[string]string{"write": "late"}},
		{CID: pinsvctest.RawCID(key), Name: "asked", Meta: map[string]string{"write": "asked"}, Origins: []multiaddr.Multiaddr{origin}},
	} {
		f := ready(t, clusterfake.New(), clusterrpc.Options{WaitsForCommit: true})
		f.add(pinsvc.Pin{CID: pinsvctest.RawCID(key), Name: "first"})
		overtaking := pinrecord.WithRequest(f.fake.Held(pinsvctest.RawCID(key)), late)
		// What the consensus accepts from now on is not shown yet.
		f.fake.Set(func() { f.fake.Batching = true })
		release := f.fake.Hang("Consensus.LogPin")
		f.fake.ResetCalls()
		asked := pinsvc.Pin{CID: pinsvctest.RawCID(key), Name: "asked", Meta: map[string]string{"write": "asked"}}
		got := make(chan pinsvc.PinStatus, 1)
		go func() {
			st, err := f.Add(t.Context(), "", asked)
			if err != nil {
				t.Error(err)
			}
			got <- st
		}()
		await.True(t, "the write", func() bool { return f.fake.Called("Consensus.LogPin") == 1 })
		f.changed(overtaking)
		release()
		st := <-got
		if st.Pin.Name != asked.Name || st.Pin.Meta["write"] != "asked" || len(st.Pin.Origins) != 0 || st.RawOrigins != "" {
			t.Errorf("over %+v: the response has %+v, origins %q", late, st.Pin, st.RawOrigins)
		}
		if len(st.Delegates) == 0 || st.Status != queued && st.Status != pinned {
			t.Errorf("status %s, delegates %v", st.Status, st.Delegates)
		}
		f.fake.Commit()
	}
}
