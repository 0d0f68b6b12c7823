package peerstatus

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// decision5 is the specification of D5. Members are A, B and C. A row begins with a
// record that A and B should hold, one of them to make it pinned, and without any
// report; 3 attempts make a peer fail. want are the states at A, B and C ("-":
// does not count), and details the text that users read.
var decision5 = []struct {
	sentence string
	name     string
	steps    []step
	want     string
	status   pinsvc.Status
	details  string
}{
	{
		"Only peers that should hold the pin count: its allocations", "a confirmation of another peer",
		[]step{confirms(peerC)},
		"unknown unknown -", queued, "",
	},
	{
		"Only peers that should hold the pin count: its allocations", "failures of another peer",
		[]step{allocatedAt(1, peerA), confirms(peerA), fails(peerB, 1, 3)},
		"pinned - -", pinned, "",
	},
	{
		"or all members when it is pinned everywhere", "a member",
		[]step{everyone, fetches(peerC)},
		"unknown unknown pinning", pinning, "",
	},
	{
		"or all members when it is pinned everywhere", "no member",
		[]step{everyone, members(peerA, peerB), confirms(peerC)},
		"unknown unknown -", queued, "",
	},
	{
		"or all members when it is pinned everywhere", "a new member",
		[]step{members(peerA), everyone, fails(peerA, 1, 3), members(peerA, peerB)},
		"failed unknown -", queued, "merkledag: not found, attempt 3 of 3",
	},
	{
		"pinned: enough of them hold it: max(1, min(replication_factor_min, number of allocations))", "the minimum",
		[]step{allocatedAt(2, peerA, peerB, peerC), confirms(peerA), confirms(peerC)},
		"pinned unknown pinned", pinned, "",
	},
	{
		"pinned: enough of them hold it: max(1, min(replication_factor_min, number of allocations))", "below the minimum",
		[]step{allocatedAt(2, peerA, peerB, peerC), confirms(peerA)},
		"pinned unknown unknown", pinning, "",
	},
	{
		"pinned: enough of them hold it: max(1, min(replication_factor_min, number of allocations))", "fewer allocations",
		[]step{allocatedAt(3, peerA, peerB), confirms(peerA), confirms(peerB)},
		"pinned pinned -", pinned, "",
	},
	{
		"pinned: enough of them hold it: max(1, min(replication_factor_min, number of allocations))", "no minimum",
		[]step{allocatedAt(0, peerA, peerB), confirms(peerB)},
		"unknown pinned -", pinned, "",
	},
	{
		"everywhere: one", "one of three",
		[]step{everyone, confirms(peerB), fails(peerC, 1, 3)},
		"unknown pinned failed", pinned, "",
	},
	{
		"Factors and the record come from PinGet/Pins, never from a status answer", "a blank report",
		[]step{confirms(peerA), blank(peerB)},
		"pinned queued -", pinned, "",
	},
	{
		"its unpinned means queued", "unpinned",
		[]step{unpinnedAt(peerA)},
		"queued unknown -", queued, "",
	},
	{
		"failed: so many have given up that \"enough\" cannot be reached", "all of them",
		[]step{fails(peerA, 1, 3), fails(peerB, 1, 3)},
		"failed failed -", failed, "merkledag: not found, attempt 3 of 3",
	},
	{
		"failed: so many have given up that \"enough\" cannot be reached", "enough others are left",
		[]step{fails(peerA, 1, 3)},
		"failed unknown -", queued, "merkledag: not found, attempt 3 of 3",
	},
	{
		"failed: so many have given up that \"enough\" cannot be reached", "too few others are left",
		[]step{allocatedAt(2, peerA, peerB), confirms(peerA), fails(peerB, 1, 3)},
		"pinned failed -", failed, "merkledag: not found, attempt 3 of 3",
	},
	{
		"A peer whose IPFS node is away has not given up", "unavailable",
		[]step{allocatedAt(1, peerA), cannotTry(peerA, 9, textUnavailable)},
		"waiting - -", queued, "waiting for the IPFS node of a peer: it is unavailable",
	},
	{
		"A peer whose IPFS node is away has not given up", "no response in time",
		[]step{allocatedAt(1, peerA), cannotTry(peerA, 9, textTimedOut)},
		"waiting - -", queued, "waiting for the IPFS node of a peer: it did not respond in time",
	},
	{
		"A peer whose IPFS node is away has not given up", "nor one whose pin queue is full",
		[]step{allocatedAt(1, peerA), cannotTry(peerA, 9, textQueueFull)},
		"waiting - -", queued, "waiting for room in a peer's pin queue (pin_tracker.stateless.max_pin_queue_size)",
	},
	{
		"A peer whose IPFS node is away has not given up", "and such attempts do not count when the node is back",
		[]step{
			allocatedAt(1, peerA), cannotTry(peerA, 1, textUnavailable), cannotTry(peerA, 2, textUnavailable),
			cannotTry(peerA, 3, textUnavailable), fetches(peerA), fails(peerA, 4, 4), passes(time.Minute),
		},
		"retrying - -", pinning, "merkledag: not found, attempt 1 of 3",
	},
	{
		"failed comes after max_pin_attempts tries", "before the last",
		[]step{allocatedAt(1, peerA), fails(peerA, 1, 2), passes(time.Minute)},
		"retrying - -", pinning, "merkledag: not found, attempt 2 of 3",
	},
	{
		"failed comes after max_pin_attempts tries", "the last",
		[]step{allocatedAt(1, peerA), fails(peerA, 1, 3)},
		"failed - -", failed, "merkledag: not found, attempt 3 of 3",
	},
	{
		"failed comes after max_pin_attempts tries", "two reports on one attempt",
		[]step{allocatedAt(1, peerA), fails(peerA, 2, 2), fails(peerA, 2, 2), passes(time.Minute)},
		"retrying - -", pinning, "merkledag: not found, attempt 2 of 3",
	},
	{
		"failed comes after max_pin_attempts tries", "an attempt without an IPFS node in between",
		[]step{allocatedAt(1, peerA), fails(peerA, 1, 2), cannotTry(peerA, 3, textUnavailable), fails(peerA, 4, 4)},
		"failed - -", failed, "merkledag: not found, attempt 3 of 3",
	},
	{
		"stays until a success", "while the cluster tries again",
		[]step{allocatedAt(1, peerA), fails(peerA, 1, 3), queues(peerA), fetches(peerA), fails(peerA, 4, 4)},
		"failed - -", failed, "merkledag: not found, attempt 3 of 3",
	},
	{
		"stays until a success", "while the content is not there",
		[]step{allocatedAt(1, peerA), fails(peerA, 1, 3), unpinnedAt(peerA), loses(peerA)},
		"failed - -", failed, "merkledag: not found, attempt 3 of 3",
	},
	{
		"stays until a success", "while the IPFS node is unavailable",
		[]step{allocatedAt(1, peerA), fails(peerA, 1, 3), cannotTry(peerA, 4, textUnavailable)},
		"failed - -", failed, "merkledag: not found, attempt 3 of 3",
	},
	{
		"stays until a success", "a success",
		[]step{allocatedAt(1, peerA), fails(peerA, 1, 3), confirms(peerA)},
		"pinned - -", pinned, "",
	},
	{
		"a re-add or a same-CID replace (which start the tries anew)", "re-added",
		[]step{allocatedAt(1, peerA), fails(peerA, 1, 3), readded},
		"queued - -", queued, "",
	},
	{
		"a re-add or a same-CID replace (which start the tries anew)", "replaced",
		[]step{allocatedAt(1, peerA), fails(peerA, 1, 3), renamed, fails(peerA, 4, 5), passes(time.Minute)},
		"retrying - -", pinning, "merkledag: not found, attempt 2 of 3",
	},
	{
		"and says why in info.status_details", "no data",
		[]step{allocatedAt(1, peerA), cannotTry(peerA, 3, textStalled)},
		"failed - -", failed, "no data for 2m0s (ipfs_connector.ipfshttp.pin_timeout), attempt 3 of 3",
	},
	{
		"Else pinning if any is at work", "one of two",
		[]step{queues(peerA), fetches(peerB)},
		"queued pinning -", pinning, "",
	},
	{
		"Else pinning if any is at work or holds it", "one of two that are required",
		[]step{allocatedAt(2, peerA, peerB), confirms(peerA), queues(peerB)},
		"pinned queued -", pinning, "",
	},
	{
		"else queued", "nobody has begun",
		[]step{queues(peerA), queues(peerB)},
		"queued queued -", queued, "",
	},
	{
		"An unreachable peer keeps its last confirmed answer", "for a long time",
		[]step{confirms(peerA), passes(1000 * time.Hour)},
		"pinned unknown -", pinned, "",
	},
	{
		"An unreachable peer keeps its last confirmed answer", "while its IPFS node is unavailable",
		[]step{confirms(peerA), reports(peerA, api.TrackerStatusClusterError), cannotTry(peerA, 1, textUnavailable)},
		"pinned unknown -", pinned, "",
	},
	{
		"An unreachable peer keeps its last confirmed answer", "under CRDT it is no member any more",
		[]step{everyone, confirms(peerC), members(peerA, peerB)},
		"unknown unknown -", pinned, "",
	},
	{
		"until it contradicts it", "lost",
		[]step{confirms(peerA), loses(peerA)},
		"lost unknown -", pinning, lostText,
	},
	{
		"until it contradicts it", "unpinned",
		[]step{confirms(peerA), unpinnedAt(peerA)},
		"queued unknown -", queued, "",
	},
	{
		"until a change of allocations contradicts it", "the holder leaves",
		[]step{confirms(peerA), allocatedAt(1, peerB, peerC)},
		"- unknown unknown", queued, "",
	},
	{
		"until a change of allocations contradicts it", "the holder stays",
		[]step{confirms(peerA), allocatedAt(1, peerA, peerC)},
		"rewritten - unknown", pinned, "",
	},
	{
		"A pin that its IPFS node lost is pinning, and recovery is asked for", "lost",
		[]step{allocatedAt(1, peerA), confirms(peerA), loses(peerA)},
		"lost - -", pinning, lostText,
	},
	{
		"A pin that its IPFS node lost is pinning, and recovery is asked for", "fetched again",
		[]step{allocatedAt(1, peerA), passes(time.Minute), confirms(peerA), fetches(peerA), queues(peerA)},
		"lost - -", pinning, lostText,
	},
	{
		"a change of the record alone does not withdraw a confirmation", "two records of one second",
		[]step{allocatedAt(1, peerA), confirms(peerA), fetches(peerA), queues(peerA)},
		"rewritten - -", pinned, "",
	},
	{
		"pinned is said only of what was confirmed, never assumed", "no report",
		nil,
		"unknown unknown -", queued, "",
	},
	{
		"pinned is said only of what was confirmed, never assumed", "reports that say nothing",
		[]step{
			reports(peerA, api.TrackerStatusUndefined), reports(peerA, api.TrackerStatusClusterError),
			reports(peerA, api.TrackerStatusSharded), cannotTry(peerA, 0, textRefused),
		},
		"unknown unknown -", queued, "",
	},
	{
		"pinned is said only of what was confirmed, never assumed", "removed and made again",
		[]step{confirms(peerA), madeAgain},
		"unknown unknown -", queued, "",
	},
	{
		"a change of the record alone (name, meta, claims) does not withdraw a confirmation", "the trackers queue it again",
		[]step{confirms(peerA), renamed, queues(peerA), fetches(peerA)},
		"rewritten unknown -", pinned, "",
	},
	{
		"a change of the record alone (name, meta, claims) does not withdraw a confirmation", "confirmed again",
		[]step{confirms(peerA), renamed, queues(peerA), passes(time.Minute), confirms(peerA)},
		"pinned unknown -", pinned, "",
	},
}

// TestTracker_Decision5 runs the table. The last sentence of D5, "Filters apply to
// this one status", holds for every row: the view counts the pin under the status
// of its summary.
func TestTracker_Decision5(t *testing.T) {
	for _, row := range decision5 {
		t.Run(row.sentence+"/"+row.name, func(t *testing.T) {
			tt := newTrackerTest(t)
			for _, step := range row.steps {
				step(tt)
			}
			pin := tt.pin()
			if got := tt.states(); got != row.want || pin.Status != row.status {
				t.Errorf("states %q, status %s; want %q and %s", got, pin.Status, row.want, row.status)
			}
			if got, _ := tt.Details(tt.key, pin.Status); got != row.details {
				t.Errorf("details %q, want %q", got, row.details)
			}
			if pin.Name != tt.rec.Name || len(pin.Meta) != len(pinrecord.ClientMeta(tt.rec)) {
				t.Errorf("the row has the name %q and metadata %v", pin.Name, pin.Meta)
			}
			sum := tt.Summary(pin.Placement, pin.Vector)
			for _, s := range []pinsvc.Status{queued, pinning, pinned, failed} {
				if got := tt.view.Count(1 << s); got == 1 != (s == sum.Status) {
					t.Errorf("the summary is %s, and the view has %d pins that are %s", sum.Status, got, s)
				}
			}
		})
	}
}

// states are the states at A, B and C.
func (tt *trackerTest) states() string {
	var names []string
	for _, p := range []peer.ID{peerA, peerB, peerC} {
		name := "-"
		if st, counts := tt.stateOf(p); counts {
			name = st.String()
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// "one peer, the closest to the CID among those that should hold it, asks for the
// retries": every peer learns the same holders of a retry that is due.
func TestTracker_Decision5RetriesNameTheHolders(t *testing.T) {
	for name, steps := range map[string][]step{
		"lost":     {confirms(peerA), loses(peerA)},
		"retrying": {fails(peerA, 1, 1), passes(10 * time.Second)},
		"waiting":  {cannotTry(peerA, 1, textUnavailable), passes(10 * time.Second)},
	} {
		tt := newTrackerTest(t)
		for _, step := range steps {
			step(tt)
		}
		due := tt.DueRetries(10)
		if len(due) != 1 || due[0].Peer != peerA || due[0].Key != tt.key || due[0].State.String() != name ||
			fmt.Sprint(due[0].Holders) != fmt.Sprint([]peer.ID{peerA, peerB}) {
			t.Errorf("%s: retries %+v", name, due)
		}
	}
	failedPin := newTrackerTest(t)
	fails(peerA, 1, 3)(failedPin)
	failedPin.clock.advance(time.Hour)
	if due := failedPin.DueRetries(10); len(due) != 0 {
		t.Errorf("a peer that failed is asked again: %+v", due)
	}
}
