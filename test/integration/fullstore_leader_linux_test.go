package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// raftDisks are Raft peers, each with its log on a small disk of its own.
type raftDisks struct {
	t     *testing.T
	peers []*harness.Peer
	disks []*harness.Disk
	tries int
	wrong []string // What is wrong if no other leader was elected meanwhile.
}

func newRaftDisks(t *testing.T, n int) *raftDisks {
	h := harness.New(t)
	d := &raftDisks{t: t}
	for i := range n {
		d.disks = append(d.disks, h.Disk(96<<20))
		var p *harness.Peer
		if i == 0 {
			p = h.Peer(harness.InitOptions{Args: []string{"--consensus", "raft"}})
		} else {
			p = h.Joining(d.peers[0], "raft")
		}
		d.peers = append(d.peers, p)
		p.Edit(func(c harness.Section) { c.Section("consensus", "raft").Set("data_folder", d.disks[i].Dir+"/raft") })
		if i == 0 {
			p.StartLogging("error,raftlib:info")
		} else {
			p.StartLogging("error,raftlib:info", "--bootstrap", d.peers[0].Address())
		}
		p.WaitReady()
	}
	return d
}

// elections is how often a leader was elected.
func (d *raftDisks) elections() (n int) {
	for _, p := range d.peers {
		n += strings.Count(p.Process().Output(), "entering leader state")
	}
	return n
}

func (d *raftDisks) at(i int, accepted []string) *fullStore {
	return &fullStore{t: d.t, peer: d.peers[i], disk: d.disks[i], next: 10000*d.tries + 1000*i, accepted: accepted}
}

func (d *raftDisks) wants(ok bool, format string, args ...any) {
	if !ok {
		d.wrong = append(d.wrong, fmt.Sprintf(format, args...))
	}
}

// refused wants a request to be refused for that reason.
func (d *raftDisks) refused(p *harness.Peer, method, c, reason string) {
	path, body := "/pins/"+c, any(nil)
	if method == http.MethodPost {
		path, body = "/pins", map[string]any{"cid": c}
	}
	began := time.Now()
	r, err := p.Ask(method, path, body)
	d.wants(err == nil && r.Status == http.StatusServiceUnavailable && r.Header.Get("Retry-After") != "" && strings.Contains(string(r.Body), reason),
		"%s: %v %d %s", method, err, r.Status, r.Body)
	// Upstream pauses for two seconds after a leader's refusal, and again where that is repeated.
	took := time.Since(began)
	d.wants(took < 4*time.Second, "%s took %s", method, took)
}

// leads reports whether the disk of that peer, once full, is that of the leader.
func (d *raftDisks) leads(i int) (free func(), yes bool) {
	const left = 16 << 20 // Less than is kept free, and enough for whatever Raft writes by itself.
	free = d.disks[i].Fill(left)
	r, err := d.at((i+1)%len(d.peers), nil).post()
	if err == nil && r.Status == http.StatusServiceUnavailable {
		d.t.Logf("peer %d leads: %s", i, r.Body)
		return free, true
	}
	free()
	return nil, false
}

// try returns false when no peer leads for long enough.
func (d *raftDisks) try() bool {
	const (
		its    = "the change was not begun: the disk of this peer's Raft log is full (consensus.raft.data_folder)"
		leader = "the change was not begun: the disk of the Raft leader's log is full (consensus.raft.data_folder of that peer)"
	)
	d.tries++
	d.wrong = nil
	pins := d.at(0, nil)
	pins.accept(3)
	before := d.elections()
	for i := range d.peers {
		free, leads := d.leads(i)
		if !leads {
			continue
		}
		full, other := d.at(i, pins.accepted), d.at((i+1)%len(d.peers), pins.accepted)
		absent := inline(d.t, fmt.Sprint("refused by a leader ", d.tries)).String()
		for range 2 {
			d.refused(other.peer, http.MethodPost, absent, leader)
			d.refused(other.peer, http.MethodDelete, pins.accepted[0], leader)
			d.refused(full.peer, http.MethodPost, absent, its)
			d.refused(full.peer, http.MethodDelete, pins.accepted[0], its)
		}
		r, err := full.peer.Ask(http.MethodGet, "/ready", nil)
		d.wants(err == nil && strings.Contains(string(r.Body), "the disk of the Raft log, consensus.raft.data_folder, is full"), "ready: %v %d %s", err, r.Status, r.Body)
		for _, s := range []*fullStore{full, other} {
			for c, want := range map[string]int{pins.accepted[0]: http.StatusOK, absent: http.StatusNotFound} {
				r, err := s.peer.Ask(http.MethodGet, "/pins/"+c, nil)
				d.wants(err == nil && r.Status == want, "GET of %s: %v %d %s", c, err, r.Status, r.Body)
			}
		}
		free()
		ended := time.Now()
		other.acceptsAgain(trueWithin)
		if d.elections() != before {
			return false
		}
		other.trueAgain(ended)
		other.reads("with space again")
		r, err = other.peer.Ask(http.MethodGet, "/pins/"+absent, nil)
		d.wants(err == nil && r.Status == http.StatusNotFound, "GET of a refused pin with space again: %v %d %s", err, r.Status, r.Body)
		return true
	}
	return false
}

// The disk of a Raft leader is full. What clients of the other peers send is refused soon, with the true reason and no
// effect, reads go on, and changes are accepted again once there is space.
func TestFullStore_OfARaftLeader(t *testing.T) {
	t.Parallel()
	d := newRaftDisks(t, 3)
	for !d.try() {
		t.Logf("another leader was elected meanwhile: %v", d.wrong)
		if d.tries == 5 {
			t.Fatal("no peer leads for long enough")
		}
	}
	for _, wrong := range d.wrong {
		t.Error(wrong)
	}
	for _, p := range d.peers { // Before their disks are gone.
		p.Stop()
	}
}
