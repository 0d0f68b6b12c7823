package clusterrpc_test

// A backend on a real peer compared with a naive list, whatever is done to its pins: a
// suite across all operations.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// modelPin is a pin of the naive list.
type modelPin struct {
	pin     pinsvc.Pin
	created time.Time
	status  pinsvc.Status
}

// model is a service whose pins are also kept in a naive list. What becomes of
// a pin is what the test tells the IPFS node.
type model struct {
	service
	rand *rand.Rand
	pins map[string]modelPin
	// kept has the status of each pin that was replaced and is kept, names what each pin has replaced.
	kept  map[string]pinsvc.Status
	names map[string]map[string]bool
}

const modelCIDs = 12

func (m *model) cid() cid.Cid {
	n := m.rand.IntN(modelCIDs)
	switch n % 3 {
	case 0:
		return pinsvctest.V0CID(n)
	case 1:
		return pinsvctest.V1CID(n)
	default:
		return pinsvctest.RawCID(n)
	}
}

func (m *model) pin(c cid.Cid) pinsvc.Pin {
	pin := pinsvc.Pin{CID: c, Name: []string{"", "a", "A", "ab"}[m.rand.IntN(4)]}
	if m.rand.IntN(2) == 0 {
		pin.Meta = map[string]string{"k": fmt.Sprint(m.rand.IntN(3))}
	}
	return pin
}

// accept enters what a request was answered with.
func (m *model) accept(st pinsvc.PinStatus, want pinsvc.Pin) {
	m.t.Helper()
	old, had := m.pins[st.RequestID]
	if had && !st.Created.Equal(old.created) {
		m.t.Errorf("created %v, then %v", old.created, st.Created)
	}
	for _, other := range m.pins {
		if !had && !st.Created.After(other.created) {
			m.t.Errorf("created %v, but there is one of %v", st.Created, other.created)
		}
	}
	p := modelPin{pin: want, created: st.Created, status: pinsvc.StatusPinning}
	if had && old.status == pinsvc.StatusPinned {
		p.status = pinsvc.StatusPinned
		if st.Status != pinsvc.StatusPinned {
			m.t.Errorf("a pinned pin is %s when its record changes", st.Status)
		}
	}
	if m.kept[st.RequestID] == pinsvc.StatusPinned {
		p.status = pinsvc.StatusPinned
	}
	m.requested(st.RequestID)
	m.pins[st.RequestID] = p
}

// tryAnew lets a pin that failed be in flight when its record is written again.
func (m *model) tryAnew(c cid.Cid) {
	for id, p := range m.pins {
		if key := mustCID(m.t, id); pinsvc.SamePin(c, key) && p.status == pinsvc.StatusFailed {
			m.peer.Node.Undecided(key)
		}
	}
	for id, status := range m.kept {
		if key := mustCID(m.t, id); pinsvc.SamePin(c, key) && status == pinsvc.StatusFailed {
			m.peer.Node.Undecided(key)
		}
	}
}

// some returns one of the pins there are.
func (m *model) some() (id string, ok bool) {
	ids := slices.Sorted(maps.Keys(m.pins))
	if len(ids) == 0 {
		return "", false
	}
	return ids[m.rand.IntN(len(ids))], true
}

// forget tells the node that nothing is decided about content that is unpinned,
// and waits until it is: what is pinned again before is pinned at once.
func (m *model) forget(id string) {
	m.t.Helper()
	delete(m.pins, id)
	c := mustCID(m.t, id)
	m.peer.Node.Undecided(c)
	await.Success(m.t, "the node and the state have given it up", func() error {
		if m.peer.Node.Has(c) {
			return fmt.Errorf("the node has %s: %s", id, m.statuses())
		}
		if _, err := m.peer.Cluster.PinGet(m.t.Context(), api.NewCid(c)); err == nil {
			return fmt.Errorf("the state has %s: %s", id, m.statuses())
		}
		return nil
	})
}

// step does one thing at random and says what.
func (m *model) step() string {
	ctx := m.t.Context()
	id, some := m.some()
	switch k := m.rand.IntN(9); {
	case k < 3 || !some:
		pin := m.pin(m.cid())
		m.tryAnew(pin.CID)
		m.accept(m.add(pin), pin)
		return "add " + pin.CID.String()
	case k == 3:
		pin := m.pin(m.cid())
		m.tryAnew(pin.CID)
		st, err := m.Replace(ctx, "", id, pin)
		if err != nil {
			m.t.Fatal(err)
		}
		if st.RequestID != id {
			m.replaced(id, st.RequestID)
		}
		m.accept(st, pin)
		m.release()
		return "replace " + id + " with " + pin.CID.String()
	case k == 4, k == 5 && m.keeps(id): // Other means would bring back what is kept.
		if err := m.Delete(ctx, "", id); err != nil {
			m.t.Fatal(err)
		}
		m.deleted(id)
		return "delete " + id
	case k == 5:
		var out api.Pin
		if err := m.peer.Client.CallContext(ctx, "", "Cluster", "Unpin", api.PinCid(api.NewCid(mustCID(m.t, id))), &out); err != nil {
			m.t.Fatal(err)
		}
		delete(m.names, id)
		m.forget(id)
		return "unpin by other means " + id
	case k == 6:
		m.renameByOtherMeans(id)
		return "rename by other means " + id
	case k == 7:
		m.decide(id, pinsvc.StatusFailed)
		return "fail " + id
	default:
		m.decide(id, pinsvc.StatusPinned)
		return "pin " + id
	}
}

// renameByOtherMeans changes a record as another peer's service does.
func (m *model) renameByOtherMeans(id string) {
	c := mustCID(m.t, id)
	rec, err := m.peer.Cluster.PinGet(m.t.Context(), api.NewCid(c))
	if err != nil {
		m.t.Fatal(err)
	}
	rec.Name = "renamed"
	m.tryAnew(c)
	// Records have whole seconds: of two writes in one, others see one.
	time.Sleep(time.Until(rec.Timestamp.Add(time.Second)))
	var out api.Pin
	if err := m.peer.Client.CallContext(m.t.Context(), "", "Cluster", "Pin", rec, &out); err != nil {
		m.t.Fatal(err)
	}
	p := m.pins[id]
	p.pin.Name = "renamed"
	if p.status != pinsvc.StatusPinned {
		p.status = pinsvc.StatusPinning
	}
	m.pins[id] = p
}

// decide lets a pin that is in flight end.
func (m *model) decide(id string, status pinsvc.Status) {
	p := m.pins[id]
	if p.status != pinsvc.StatusPinning {
		return
	}
	c := mustCID(m.t, id)
	if status == pinsvc.StatusPinned {
		m.peer.Node.Succeed(c)
	} else {
		m.peer.Node.Fail(c, errors.New("merkledag: malformed"))
	}
	p.status = status
	m.pins[id] = p
	m.release()
}

// page is the naive page. The model does not distinguish queued from pinning.
func (m *model) page(q pinsvc.Query) (ids []string, count int) {
	if q.Statuses.Has(pinsvc.StatusQueued) {
		q.Statuses |= pinsvc.SetOf(pinsvc.StatusPinning)
	}
	type entry struct {
		id string
		modelPin
	}
	var all []entry
	for id, p := range m.pins {
		if q.Matches(pinsvc.PinStatus{Status: p.status, Created: p.created, Pin: p.pin}) {
			all = append(all, entry{id, p})
		}
	}
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(b.created.Compare(a.created), strings.Compare(a.id, b.id))
	})
	for _, e := range all[:min(len(all), q.Limit)] {
		ids = append(ids, e.id)
	}
	return ids, len(all)
}

// queries are one of each kind of filter.
func (m *model) queries() []pinsvc.Query {
	inFlight := pinsvc.SetOf(pinsvc.StatusQueued, pinsvc.StatusPinning)
	qs := []pinsvc.Query{
		{}, {Limit: 3}, {Name: "a"}, {Name: "A", Match: pinsvc.MatchIExact}, {Name: "a", Match: pinsvc.MatchPartial},
		{Meta: map[string]string{"k": "1"}}, {CIDs: []cid.Cid{m.cid(), pinsvctest.RawCID(99)}}, {Statuses: inFlight},
		{Statuses: pinsvc.SetOf(pinsvc.StatusPinned)}, {Statuses: pinsvc.SetOf(pinsvc.StatusFailed)},
	}
	if id, ok := m.some(); ok {
		qs = append(qs, pinsvc.Query{Before: m.pins[id].created}, pinsvc.Query{After: m.pins[id].created, Limit: 2})
	}
	for i := range qs {
		if qs[i].Limit == 0 {
			qs[i].Limit = 10
		}
		if qs[i].Statuses == 0 {
			qs[i].Statuses = pinsvc.AllStatuses
		}
	}
	return qs
}

// differs says in which page the service and the naive list do.
func (m *model) differs() error {
	for _, q := range m.queries() {
		got, err := pinsvctest.Results(m.List(m.t.Context(), "", q))
		if err != nil {
			return err
		}
		ids, count := m.page(q)
		var gotIDs []string
		for _, st := range got.Results {
			gotIDs = append(gotIDs, st.RequestID)
			p := m.pins[st.RequestID]
			if !st.Pin.CID.Equals(p.pin.CID) || st.Pin.Name != p.pin.Name || !maps.Equal(st.Pin.Meta, p.pin.Meta) || !st.Created.Equal(p.created) {
				return fmt.Errorf("%+v is listed as %+v", p, st)
			}
		}
		if got.Count != count || !slices.Equal(gotIDs, ids) {
			return fmt.Errorf("%+v lists %d %v, want %d %v; %s", q, got.Count, gotIDs, count, ids, m.statuses())
		}
	}
	return nil
}

// statuses are what the service says of all pins, for the message of a failure.
func (m *model) statuses() string {
	all, err := pinsvctest.Results(m.List(m.t.Context(), "", pinsvc.Query{Limit: 1000, Statuses: pinsvc.AllStatuses}))
	if err != nil {
		return err.Error()
	}
	var text strings.Builder
	for _, st := range all.Results {
		fmt.Fprintf(&text, "%s is %s %v; ", st.RequestID, st.Status, st.Info)
	}
	return text.String()
}

// Whatever is done to the pins, by whom ever, every page and count is that of a
// naive list, while others read.
func TestBackend_IsANaiveList(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]clustertest.Options{
		"everywhere": {},
		"batching":   {ReplicationMin: 1, ReplicationMax: 1, BatchAge: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			p := clustertest.Start(t, 1, opts)[0]
			p.Node.HoldPins(true)
			m := &model{
				service: service{newBackend(t, p, clusterrpc.Options{
					BatchAge: opts.BatchAge, WaitsForCommit: opts.BatchAge == 0,
					NewsTime: time.Second, CompleteTime: 2 * time.Second, // There is one peer.
				}), t, p},
				rand: rand.New(rand.NewPCG(seed, 1)), pins: make(map[string]modelPin),
				kept: make(map[string]pinsvc.Status), names: make(map[string]map[string]bool),
			}
			stop := readers(t, m.Backend)
			defer stop()
			var done []string
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("done before: %q", done)
				}
			})
			for range 120 {
				if opts.BatchAge > 0 {
					// Other means see what is committed only.
					await.Success(t, "all is committed", func() error { return m.committed() })
				}
				done = append(done, m.step())
				await.Success(t, fmt.Sprintf("after %q the service is the list", done[max(0, len(done)-8):]), func() error {
					return errors.Join(m.differs(), m.keptAreThere())
				})
			}
		})
	}
}

// committed compares the state with the list.
func (m *model) committed() error {
	for id, p := range m.pins {
		rec, err := m.peer.Cluster.PinGet(m.t.Context(), api.NewCid(mustCID(m.t, id)))
		if err != nil {
			return fmt.Errorf("%s is not there: %w", id, err)
		}
		// A record that was replaced stays for a while, and may have the same name.
		created, _ := pinrecord.CreatedOf(rec)
		if !created.Equal(p.created) || rec.Name != p.pin.Name || rec.Metadata["k"] != p.pin.Meta["k"] {
			return fmt.Errorf("%s is an older record: %+v", id, rec)
		}
	}
	for n := range modelCIDs {
		for _, c := range []cid.Cid{pinsvctest.V0CID(n), pinsvctest.V1CID(n), pinsvctest.RawCID(n)} {
			if _, ok := m.pins[c.String()]; ok {
				continue
			}
			if _, ok := m.kept[c.String()]; ok {
				continue
			}
			if _, err := m.peer.Cluster.PinGet(m.t.Context(), api.NewCid(c)); err == nil {
				return fmt.Errorf("%s is still there", c)
			}
		}
	}
	return nil
}

// readers list and page until they are stopped, and check what holds for any
// page.
func readers(t *testing.T, b *clusterrpc.Backend) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			q := pinsvc.Query{Limit: 2 + i, Statuses: pinsvc.AllStatuses}
			for ctx.Err() == nil {
				page, err := pinsvctest.Results(b.List(ctx, "", q))
				if ctx.Err() != nil {
					return
				}
				if err != nil || page.Count < len(page.Results) {
					t.Errorf("%d of %d pins, %v", len(page.Results), page.Count, err)
					return
				}
				if !slices.IsSortedFunc(page.Results, func(a, b pinsvc.PinStatus) int { return b.Created.Compare(a.Created) }) {
					t.Error("a page is out of order")
				}
				if q.Before = (time.Time{}); page.Count > len(page.Results) {
					q.Before = page.Results[len(page.Results)-1].Created
				}
				_ = sleepABit(ctx)
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// sleepABit leaves the processor to those that are tested.
func sleepABit(ctx context.Context) error {
	select {
	case <-time.After(time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
