package pinsvctest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// releaseTime is how long a backend may take to unpin what was replaced.
const releaseTime = time.Minute

// keeps checks whose content is kept of pins 1 to n.
func (s suite) keeps(want ...bool) {
	s.t.Helper()
	for i, kept := range want {
		if got := s.Keeps(s.t, RawCID(i+1)); got != kept {
			s.t.Errorf("the content of pin %d is kept: %t, want %t", i+1, got, kept)
		}
	}
}

// released waits until the content of a CID is given up, and no pin says any more that it keeps it.
func (s suite) released(c cid.Cid) {
	s.t.Helper()
	told := func() bool {
		return slices.ContainsFunc(s.list(pinsvc.Query{}).Results, func(st pinsvc.PinStatus) bool {
			return strings.Contains(st.Info["kept"], c.String())
		})
	}
	for end := time.Now().Add(releaseTime); s.Keeps(s.t, c) || told(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("the content of %s is kept for more than %s", c, releaseTime)
		}
	}
}

// saysKept checks that info names the contents that a pin keeps, and no more.
func (s suite) saysKept(st pinsvc.PinStatus, want ...cid.Cid) {
	s.t.Helper()
	kept := st.Info["kept"]
	for _, c := range want {
		if !strings.Contains(kept, c.String()) {
			s.t.Errorf("%s keeps %q, want %s among them", st.RequestID, kept, c)
		}
	}
	if n := len(strings.FieldsFunc(kept, func(r rune) bool { return r == ',' })); n != len(want) {
		s.t.Errorf("%s keeps %q, want %d pins", st.RequestID, kept, len(want))
	}
}

func testReplaceKeeps(t *testing.T, s suite) {
	old := s.add(pinsvc.Pin{CID: RawCID(1)})
	s.SetStatus(t, old.RequestID, pinsvc.StatusPinned)
	st := s.replace(old.RequestID, pinsvc.Pin{CID: RawCID(2)})
	s.saysKept(st, RawCID(1))
	for _, status := range []pinsvc.Status{pinsvc.StatusQueued, pinsvc.StatusPinning} {
		s.SetStatus(t, st.RequestID, status)
		s.keeps(true, true)
		s.saysKept(s.get(st.RequestID), RawCID(1))
		s.saysKept(s.list(pinsvc.Query{}).Results[0], RawCID(1))
	}
	s.SetStatus(t, st.RequestID, pinsvc.StatusPinned)
	s.released(RawCID(1))
	s.saysKept(s.get(st.RequestID))
	s.keeps(false, true)
	s.gone(old.RequestID)
}

func testReplaceFailed(t *testing.T, s suite) {
	old := s.add(pinsvc.Pin{CID: RawCID(1)})
	s.SetStatus(t, old.RequestID, pinsvc.StatusPinned)
	st := s.replace(old.RequestID, pinsvc.Pin{CID: RawCID(2)})
	s.SetStatus(t, st.RequestID, pinsvc.StatusFailed)
	got := s.get(st.RequestID)
	s.saysKept(got, RawCID(1))
	if got.Info["status_details"] == "" {
		t.Errorf("failed with info %v, want status_details as well", got.Info)
	}
	s.keeps(true, true)
	s.gone(old.RequestID)
}

func testReplaceHides(t *testing.T, s suite) {
	old := s.add(pinsvc.Pin{CID: RawCID(1), Name: "files", Meta: map[string]string{"app": "mfs"}})
	other := s.add(pinsvc.Pin{CID: RawCID(3), Name: "files"})
	s.SetStatus(t, old.RequestID, pinsvc.StatusPinned)
	s.replace(old.RequestID, pinsvc.Pin{CID: RawCID(2), Name: "files"})
	s.gone(old.RequestID)
	wantKind(t, "Delete of the old pin", s.Backend.Delete(t.Context(), user, old.RequestID), pinsvc.KindNotFound)
	_, err := s.Backend.Replace(t.Context(), user, old.RequestID, pinsvc.Pin{CID: RawCID(4)})
	wantKind(t, "Replace of the old pin", err, pinsvc.KindNotFound)
	for want, q := range map[int][]pinsvc.Query{
		0: {
			{CIDs: []cid.Cid{RawCID(1)}}, {Meta: map[string]string{"app": "mfs"}}, {Before: old.Created.Add(time.Millisecond)},
			{Statuses: pinsvc.SetOf(pinsvc.StatusPinned)},
		},
		1: {{CIDs: []cid.Cid{RawCID(1), RawCID(2)}}},
		2: {{}, {Name: "files"}, {Name: "ile", Match: pinsvc.MatchPartial}, {Limit: 1}},
	} {
		for _, q := range q {
			if page := s.list(q); page.Count != want {
				t.Errorf("%+v finds %d pins, want %d", q, page.Count, want)
			}
		}
	}
	s.gone(RawCID(4).String())
	s.get(other.RequestID)
	s.keeps(true, true, true)
}

func testReplaceChain(t *testing.T, s suite) {
	st := s.add(pinsvc.Pin{CID: RawCID(1)})
	s.SetStatus(t, st.RequestID, pinsvc.StatusPinned)
	for i := 2; i <= 4; i++ {
		st = s.replace(st.RequestID, pinsvc.Pin{CID: RawCID(i)})
	}
	s.saysKept(s.get(st.RequestID), RawCID(1), RawCID(2), RawCID(3))
	s.keeps(true, true, true, true)
	if page := s.list(pinsvc.Query{}); page.Count != 1 {
		t.Errorf("%d pins", page.Count)
	}
	s.SetStatus(t, st.RequestID, pinsvc.StatusPinned)
	for i := 1; i <= 3; i++ {
		s.released(RawCID(i))
	}
	s.keeps(false, false, false, true)
}

func testReplaceDelete(t *testing.T, s suite) {
	st := s.add(pinsvc.Pin{CID: RawCID(1)})
	for i := 2; i <= 3; i++ {
		st = s.replace(st.RequestID, pinsvc.Pin{CID: RawCID(i)})
	}
	if err := s.Backend.Delete(t.Context(), user, st.RequestID); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	for i := 1; i <= 3; i++ {
		s.released(RawCID(i))
		s.gone(RawCID(i).String())
	}
}

func testReplaceAdd(t *testing.T, s suite) {
	old := s.add(pinsvc.Pin{CID: RawCID(1), Name: "old", Meta: map[string]string{"a": "1"}})
	s.SetStatus(t, old.RequestID, pinsvc.StatusPinned)
	st := s.replace(old.RequestID, pinsvc.Pin{CID: RawCID(2)})
	pin := pinsvc.Pin{CID: RawCID(1), Name: "again"}
	again := s.add(pin)
	samePin(t, again.Pin, pin)
	if again.RequestID != old.RequestID || !again.Created.After(st.Created) {
		t.Errorf("%s of %v, want %s and newer than %v", again.RequestID, again.Created, old.RequestID, st.Created)
	}
	s.saysKept(s.get(st.RequestID))
	s.SetStatus(t, st.RequestID, pinsvc.StatusPinned)
	samePin(t, s.get(again.RequestID).Pin, pin)
	if page := s.list(pinsvc.Query{}); page.Count != 2 {
		t.Errorf("%d pins", page.Count)
	}
	s.keeps(true, true)
}

func testReplaceBack(t *testing.T, s suite) {
	old := s.add(pinsvc.Pin{CID: RawCID(1), Name: "old"})
	s.SetStatus(t, old.RequestID, pinsvc.StatusPinned)
	st := s.replace(old.RequestID, pinsvc.Pin{CID: RawCID(2)})
	back := s.replace(st.RequestID, pinsvc.Pin{CID: RawCID(1), Name: "back"})
	if back.RequestID != old.RequestID || !back.Created.After(st.Created) {
		t.Errorf("%s of %v, want %s and newer than %v", back.RequestID, back.Created, old.RequestID, st.Created)
	}
	s.gone(st.RequestID)
	s.SetStatus(t, back.RequestID, pinsvc.StatusPinned)
	s.released(RawCID(2))
	s.keeps(true, false)
	samePin(t, s.get(back.RequestID).Pin, pinsvc.Pin{CID: RawCID(1), Name: "back"})
}
