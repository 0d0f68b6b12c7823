package pinsvctest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

func testReady(t *testing.T, s suite) {
	if err := s.Backend.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	if err := s.Backend.Health(); err != nil {
		t.Errorf("Health: %v", err)
	}
}

func testAdd(t *testing.T, s suite) {
	before := time.Now().Add(-time.Second)
	pin := pinsvc.Pin{
		CID: RawCID(1), Name: "Ünïcode 🗂 \"name\"", Origins: origins(t),
		Meta: map[string]string{"app": "suite", "empty": "", "ключ": "значение"},
	}
	st := s.add(pin)
	samePin(t, st.Pin, pin)
	if st.Created.Before(before) || st.Created.After(time.Now().Add(time.Minute)) {
		t.Errorf("created %v, want about now", st.Created)
	}
	got := s.get(st.RequestID)
	samePin(t, got.Pin, pin)
	if got.RequestID != st.RequestID || !got.Created.Equal(st.Created) {
		t.Errorf("Get says %s of %v, Add said %s of %v", got.RequestID, got.Created, st.RequestID, st.Created)
	}
	page := s.list(pinsvc.Query{})
	if page.Count != 1 || len(page.Results) != 1 || page.Results[0].RequestID != st.RequestID {
		t.Fatalf("List says %+v", page)
	}
	samePin(t, page.Results[0].Pin, pin)
}

func testAddAgain(t *testing.T, s suite) {
	first := s.add(pinsvc.Pin{CID: RawCID(1), Name: "one", Origins: origins(t), Meta: map[string]string{"a": "1"}})
	s.add(pinsvc.Pin{CID: RawCID(2)})
	for _, pin := range []pinsvc.Pin{
		{CID: RawCID(1), Name: "two", Meta: map[string]string{"b": "2"}},
		{CID: RawCID(1), Origins: origins(t)[:1]},
		{CID: RawCID(1)},
	} {
		st := s.add(pin)
		for _, got := range []pinsvc.PinStatus{st, s.get(first.RequestID)} {
			samePin(t, got.Pin, pin)
			if got.RequestID != first.RequestID || !got.Created.Equal(first.Created) {
				t.Errorf("%s of %v, want %s of %v", got.RequestID, got.Created, first.RequestID, first.Created)
			}
		}
	}
	if page := s.list(pinsvc.Query{}); page.Count != 2 || page.Results[1].RequestID != first.RequestID {
		t.Errorf("the re-added pin is not the older of two: %+v", page)
	}
}

func testAddUnchanged(t *testing.T, s suite) {
	pin := pinsvc.Pin{CID: RawCID(1), Name: "one", Origins: origins(t), Meta: map[string]string{"a": "1"}}
	s.add(pin)
	first := s.list(pinsvc.Query{}).Results
	s.SetStatus(t, first[0].RequestID, pinsvc.StatusPinned)
	first[0].Status, first[0].Info = pinsvc.StatusPinned, nil
	for range 3 {
		st := s.add(pin)
		samePin(t, st.Pin, pin)
		if st.Status != pinsvc.StatusPinned {
			t.Errorf("adding the same pin again says %s, want pinned", st.Status)
		}
	}
	page := s.list(pinsvc.Query{})
	if page.Count != 1 || page.Results[0].RequestID != first[0].RequestID || !page.Results[0].Created.Equal(first[0].Created) {
		t.Errorf("got %+v, want %+v", page, first)
	}
}

func testAddStatus(t *testing.T, s suite) {
	pin := pinsvc.Pin{CID: RawCID(1), Name: "one"}
	st := s.add(pin)
	if st.Status == pinsvc.StatusFailed {
		t.Errorf("a new pin is failed")
	}
	s.SetStatus(t, st.RequestID, pinsvc.StatusPinned)
	pin.Name = "two"
	if st := s.add(pin); st.Status != pinsvc.StatusPinned {
		t.Errorf("adding a pinned CID again says %s, want pinned", st.Status)
	}
}

func testAddConcurrent(t *testing.T, s suite) {
	const n = 32
	created := make([]time.Time, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			st, err := s.Backend.Add(t.Context(), user, pinsvc.Pin{CID: RawCID(i)})
			if err != nil {
				t.Errorf("Add: %v", err)
			}
			created[i] = st.Created
			if _, err := s.Backend.Get(t.Context(), user, st.RequestID); err != nil {
				t.Errorf("Get at once after Add: %v", err)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(created, time.Time.Compare)
	if unique := slices.CompactFunc(created, time.Time.Equal); len(unique) != n {
		t.Errorf("%d different created of %d pins", len(unique), n)
	}
	if page := s.list(pinsvc.Query{Limit: 2 * n}); page.Count != n || len(page.Results) != n {
		t.Errorf("the list has %d of %d", len(page.Results), n)
	}
}

func testAddSameConcurrent(t *testing.T, s suite) {
	const n = 16
	responses := make([]pinsvc.PinStatus, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			st, err := s.Backend.Add(t.Context(), user, pinsvc.Pin{CID: RawCID(1)})
			if err != nil {
				t.Errorf("Add: %v", err)
			}
			responses[i] = st
		})
	}
	wg.Wait()
	for _, st := range responses {
		if st.RequestID != responses[0].RequestID || !st.Created.Equal(responses[0].Created) {
			t.Errorf("%s of %v and %s of %v", st.RequestID, st.Created, responses[0].RequestID, responses[0].Created)
		}
	}
	if page := s.list(pinsvc.Query{}); page.Count != 1 {
		t.Errorf("%d pins", page.Count)
	}
}

func testCreated(t *testing.T, s suite) {
	var last time.Time
	for i := range 50 {
		st := s.add(pinsvc.Pin{CID: RawCID(i)})
		if !st.Created.After(last) {
			t.Fatalf("pin %d was created %v, the one before %v", i, st.Created, last)
		}
		last = st.Created
	}
}

func testCreatedAfterElsewhere(t *testing.T, s suite) {
	ahead := time.Now().UTC().Truncate(time.Second).Add(time.Hour)
	s.PinElsewhere(t, ahead, pinsvc.Pin{CID: RawCID(1)})
	if st := s.add(pinsvc.Pin{CID: RawCID(2)}); !st.Created.After(ahead) {
		t.Errorf("created %v, but the state has %v already", st.Created, ahead)
	}
}

func testCIDForms(t *testing.T, s suite) {
	first := s.add(pinsvc.Pin{CID: V0CID(1)})
	again := s.add(pinsvc.Pin{CID: V1CID(1), Name: "v1"})
	if again.RequestID != first.RequestID || !again.Created.Equal(first.Created) {
		t.Errorf("%s of %v, want %s of %v", again.RequestID, again.Created, first.RequestID, first.Created)
	}
	for _, id := range []string{V0CID(1).String(), V1CID(1).String()} {
		st := s.get(id)
		samePin(t, st.Pin, pinsvc.Pin{CID: V1CID(1), Name: "v1"})
		if st.RequestID != first.RequestID {
			t.Errorf("Get(%s) has request ID %s, want %s", id, st.RequestID, first.RequestID)
		}
	}
	page := s.list(pinsvc.Query{})
	if page.Count != 1 {
		t.Fatalf("%d pins", page.Count)
	}
	samePin(t, page.Results[0].Pin, pinsvc.Pin{CID: V1CID(1), Name: "v1"})
	if err := s.Backend.Delete(t.Context(), user, V1CID(1).String()); err != nil {
		t.Errorf("Delete by the other form: %v", err)
	}
	s.gone(first.RequestID)
}

func testNotFound(t *testing.T, s suite) {
	s.add(pinsvc.Pin{CID: RawCID(1)})
	for _, id := range []string{RawCID(2).String(), V0CID(1).String(), "no-cid", "", "..", "%2e", RawCID(1).String() + "x"} {
		_, err := s.Backend.Get(t.Context(), user, id)
		wantKind(t, "Get("+id+")", err, pinsvc.KindNotFound)
		err = s.Backend.Delete(t.Context(), user, id)
		wantKind(t, "Delete("+id+")", err, pinsvc.KindNotFound)
		_, err = s.Backend.Replace(t.Context(), user, id, pinsvc.Pin{CID: RawCID(3)})
		wantKind(t, "Replace("+id+")", err, pinsvc.KindNotFound)
	}
	if page := s.list(pinsvc.Query{}); page.Count != 1 {
		t.Errorf("%d pins, want the first alone", page.Count)
	}
}

func testDelete(t *testing.T, s suite) {
	st := s.add(pinsvc.Pin{CID: RawCID(1)})
	other := s.add(pinsvc.Pin{CID: RawCID(2)})
	if err := s.Backend.Delete(t.Context(), user, st.RequestID); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	s.gone(st.RequestID)
	wantKind(t, "the second Delete", s.Backend.Delete(t.Context(), user, st.RequestID), pinsvc.KindNotFound)
	s.get(other.RequestID)

	again := s.add(pinsvc.Pin{CID: RawCID(1)})
	if again.RequestID != st.RequestID || !again.Created.After(other.Created) {
		t.Errorf("added after the delete: %s of %v, want %s and newer than %v", again.RequestID, again.Created, st.RequestID, other.Created)
	}
}

// testReplaceSame is what Kubo's MFS policy and Helia's setMetadata send.
func testReplaceSame(t *testing.T, s suite) {
	st := s.add(pinsvc.Pin{CID: RawCID(1), Name: "one", Meta: map[string]string{"a": "1"}, Origins: origins(t)})
	s.SetStatus(t, st.RequestID, pinsvc.StatusPinned)
	for _, pin := range []pinsvc.Pin{
		{CID: RawCID(1), Name: "two", Meta: map[string]string{"b": "2"}, Origins: origins(t)[1:]},
		{CID: RawCID(1)},
	} {
		for _, got := range []pinsvc.PinStatus{s.replace(st.RequestID, pin), s.get(st.RequestID)} {
			samePin(t, got.Pin, pin)
			if got.RequestID != st.RequestID || !got.Created.Equal(st.Created) || got.Status != pinsvc.StatusPinned {
				t.Errorf("%s of %v is %s, want %s of %v pinned", got.RequestID, got.Created, got.Status, st.RequestID, st.Created)
			}
		}
	}
}

func testReplaceOtherForm(t *testing.T, s suite) {
	st := s.add(pinsvc.Pin{CID: V0CID(1), Name: "one"})
	got := s.replace(V1CID(1).String(), pinsvc.Pin{CID: V1CID(1), Name: "two"})
	samePin(t, got.Pin, pinsvc.Pin{CID: V1CID(1), Name: "two"})
	if got.RequestID != st.RequestID {
		t.Errorf("request ID %s, want %s", got.RequestID, st.RequestID)
	}
	if page := s.list(pinsvc.Query{}); page.Count != 1 {
		t.Errorf("%d pins", page.Count)
	}
}

func testReplaceOther(t *testing.T, s suite) {
	old := s.add(pinsvc.Pin{CID: RawCID(1), Name: "old", Meta: map[string]string{"a": "1"}, Origins: origins(t)})
	pin := pinsvc.Pin{CID: RawCID(2), Meta: map[string]string{"b": "2"}}
	st := s.replace(old.RequestID, pin)
	samePin(t, st.Pin, pin)
	if st.RequestID == old.RequestID || !st.Created.After(old.Created) {
		t.Errorf("%s of %v replaced %s of %v", st.RequestID, st.Created, old.RequestID, old.Created)
	}
	s.gone(old.RequestID)
	samePin(t, s.get(st.RequestID).Pin, pin)
	if page := s.list(pinsvc.Query{}); page.Count != 1 {
		t.Errorf("%d pins", page.Count)
	}
}

func testReplaceHeld(t *testing.T, s suite) {
	held := s.add(pinsvc.Pin{CID: RawCID(1), Name: "held"})
	old := s.add(pinsvc.Pin{CID: RawCID(2), Name: "old"})
	st := s.replace(old.RequestID, pinsvc.Pin{CID: RawCID(1), Name: "new"})
	samePin(t, st.Pin, pinsvc.Pin{CID: RawCID(1), Name: "new"})
	if st.RequestID != held.RequestID || !st.Created.Equal(held.Created) {
		t.Errorf("%s of %v, want %s of %v", st.RequestID, st.Created, held.RequestID, held.Created)
	}
	s.gone(old.RequestID)
}

func testReplaceUnknown(t *testing.T, s suite) {
	for _, id := range []string{RawCID(1).String(), "no-cid"} {
		_, err := s.Backend.Replace(t.Context(), user, id, pinsvc.Pin{CID: RawCID(2)})
		wantKind(t, "Replace", err, pinsvc.KindNotFound)
	}
	s.gone(RawCID(2).String())
}

func testFailed(t *testing.T, s suite) {
	st := s.add(pinsvc.Pin{CID: RawCID(1)})
	s.SetStatus(t, st.RequestID, pinsvc.StatusFailed)
	got := s.get(st.RequestID)
	if got.Status != pinsvc.StatusFailed || got.Info["status_details"] == "" {
		t.Errorf("status %s with info %v, want failed with status_details", got.Status, got.Info)
	}
}

func testElsewhere(t *testing.T, s suite) {
	created := time.Date(2026, 1, 2, 15, 4, 5, 678_000_000, time.UTC)
	pin := pinsvc.Pin{CID: RawCID(1), Name: "elsewhere", Meta: map[string]string{"a": "1"}}
	s.PinElsewhere(t, created, pin)
	st := s.get(RawCID(1).String())
	samePin(t, st.Pin, pin)
	if !st.Created.Equal(created) {
		t.Errorf("created %v, want %v", st.Created, created)
	}
	if page := s.list(pinsvc.Query{}); page.Count != 1 {
		t.Errorf("%d pins", page.Count)
	}
}

func testCut(t *testing.T, s suite) {
	held := s.add(pinsvc.Pin{CID: RawCID(1), Name: "held"})
	restore := s.Cut(t)
	_, err := s.Backend.Add(t.Context(), user, pinsvc.Pin{CID: RawCID(2)})
	wantKind(t, "Add", err, pinsvc.KindUnavailable)
	_, err = s.Backend.Replace(t.Context(), user, held.RequestID, pinsvc.Pin{CID: RawCID(3)})
	wantKind(t, "Replace", err, pinsvc.KindUnavailable)
	err = s.Backend.Delete(t.Context(), user, held.RequestID)
	wantKind(t, "Delete", err, pinsvc.KindUnavailable)
	if st, err := s.Backend.Get(t.Context(), user, held.RequestID); err == nil { // What is known may be returned.
		samePin(t, st.Pin, pinsvc.Pin{CID: RawCID(1), Name: "held"})
	} else {
		wantKind(t, "Get", err, pinsvc.KindUnavailable)
	}
	_, err = s.Backend.Get(t.Context(), user, RawCID(4).String())
	wantKind(t, "Get of what is not known", err, pinsvc.KindUnavailable)
	restore()
	samePin(t, s.get(held.RequestID).Pin, pinsvc.Pin{CID: RawCID(1), Name: "held"})
	s.gone(RawCID(2).String())
	s.gone(RawCID(3).String())
}

func testCancelled(t *testing.T, s suite) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Backend.Add(ctx, user, pinsvc.Pin{CID: RawCID(1)}); err == nil {
		t.Error("Add of a cancelled request succeeded")
	}
	s.gone(RawCID(1).String())
	if _, err := s.Backend.List(ctx, user, pinsvc.Query{Limit: 1, Statuses: pinsvc.AllStatuses}); err == nil {
		t.Error("List of a cancelled request succeeded")
	}
}
