package pinsvctest

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// user is the user of all requests: the suite tests no isolation between users.
const user pinsvc.User = "alice"

// RunBackendTests runs the contract of pinsvc.Backend. Each test gets a harness
// of its own from newHarness, which registers the clean-up with t.
func RunBackendTests(t *testing.T, newHarness func(t *testing.T) Harness) {
	tests := []struct {
		name string
		run  func(t *testing.T, s suite)
	}{
		{"Ready and Health return nil", testReady},
		{"Add returns the pin of the request", testAdd},
		{"Add again keeps request ID and created, sets the rest", testAddAgain},
		{"Add of the same pin again changes nothing", testAddUnchanged},
		{"Add says the real status", testAddStatus},
		{"Add of many at once loses none", testAddConcurrent},
		{"Add of one CID at once makes one pin", testAddSameConcurrent},
		{"created is unique and increasing", testCreated},
		{"created is larger than that of pins made elsewhere", testCreatedAfterElsewhere},
		{"both forms of a CID name one pin", testCIDForms},
		{"unknown request IDs are not found", testNotFound},
		{"Delete gives the pin up", testDelete},
		{"Replace with the same CID keeps the pin", testReplaceSame},
		{"Replace with the other form of the CID keeps the pin", testReplaceOtherForm},
		{"Replace with another CID removes the old pin", testReplaceOther},
		{"Replace with a CID that is held ends the old", testReplaceHeld},
		{"Replace keeps the old content until the new pin is pinned", testReplaceKeeps},
		{"Replace keeps the old content while the new pin has failed", testReplaceFailed},
		{"Replace hides the old pin from every request", testReplaceHides},
		{"the last of a chain of replaces keeps them all", testReplaceChain},
		{"Delete of a pin releases what it has replaced", testReplaceDelete},
		{"Add of a pin that was replaced makes it anew", testReplaceAdd},
		{"Replace by the pin that was replaced turns it round", testReplaceBack},
		{"Replace of nothing pins nothing", testReplaceUnknown},
		{"Add and Replace refuse what can never be pinned", testUnpinnable},
		{"origins come back in their order, up to the largest number", testOrigins},
		{"origins that were dropped are missing everywhere", testDroppedOrigins},
		{"failed says why", testFailed},
		{"a pin made elsewhere is served", testElsewhere},
		{"a pin made elsewhere shows as many origins as are allowed", testElsewhereOrigins},
		{"the empty list", testListEmpty},
		{"filters, each and combined", testListFilters},
		{"one status, in lists too", testListStatus},
		{"before and after are strict", testListBounds},
		{"any CID form finds the pin once", testListCIDs},
		{"paging by before finds each pin once", testListPages},
		{"a group larger than the limit comes whole", testListLargeGroup},
		{"requests fail as unavailable while the state is unreachable", testCut},
		{"a cancelled request changes nothing", testCancelled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t)
			switch {
			case h.Backend == nil, h.SetStatus == nil, h.PinElsewhere == nil, h.Keeps == nil, h.Cut == nil:
				t.Fatal("the harness lacks a field")
			}
			tt.run(t, suite{t: t, Harness: h})
		})
	}
}

// suite is one test's harness with calls that fail the test on an error.
type suite struct {
	Harness
	t *testing.T
}

func (s suite) add(pin pinsvc.Pin) pinsvc.PinStatus {
	s.t.Helper()
	st, err := s.Backend.Add(s.t.Context(), user, pin)
	if err != nil {
		s.t.Fatalf("Add(%s): %v", pin.CID, err)
	}
	s.wellFormed(st)
	return st
}

func (s suite) get(requestID string) pinsvc.PinStatus {
	s.t.Helper()
	st, err := s.Backend.Get(s.t.Context(), user, requestID)
	if err != nil {
		s.t.Fatalf("Get(%s): %v", requestID, err)
	}
	s.wellFormed(st)
	return st
}

func (s suite) replace(requestID string, pin pinsvc.Pin) pinsvc.PinStatus {
	s.t.Helper()
	st, err := s.Backend.Replace(s.t.Context(), user, requestID, pin)
	if err != nil {
		s.t.Fatalf("Replace(%s): %v", requestID, err)
	}
	s.wellFormed(st)
	return st
}

func (s suite) list(q pinsvc.Query) pinsvc.PinResults {
	s.t.Helper()
	if q.Limit == 0 {
		q.Limit = pinsvc.DefaultLimit
	}
	if q.Statuses == 0 {
		q.Statuses = pinsvc.AllStatuses
	}
	page, err := Results(s.Backend.List(s.t.Context(), user, q))
	if err != nil {
		s.t.Fatalf("List(%+v): %v", q, err)
	}
	for _, st := range page.Results {
		s.wellFormed(st)
	}
	return page
}

// gone checks by Get and List that there is no such pin.
func (s suite) gone(requestID string) {
	s.t.Helper()
	_, err := s.Backend.Get(s.t.Context(), user, requestID)
	wantKind(s.t, "Get("+requestID+")", err, pinsvc.KindNotFound)
	for _, st := range s.list(pinsvc.Query{Limit: pinsvc.MaxLimit}).Results {
		if st.RequestID == requestID {
			s.t.Errorf("%s is not found but listed", requestID)
		}
	}
}

// wellFormed checks what holds for every PinStatus.
func (s suite) wellFormed(st pinsvc.PinStatus) {
	s.t.Helper()
	if c, err := cid.Decode(st.RequestID); err != nil || !bytes.Equal(c.Hash(), st.Pin.CID.Hash()) {
		s.t.Errorf("request ID %q is not a CID of %s", st.RequestID, st.Pin.CID)
	}
	if !pinsvc.AllStatuses.Has(st.Status) {
		s.t.Errorf("%s: status %d", st.RequestID, st.Status)
	}
	if st.Created.Location() != time.UTC || st.Created.IsZero() || !st.Created.Equal(st.Created.Truncate(time.Millisecond)) {
		s.t.Errorf("%s: created %v, want UTC and whole milliseconds", st.RequestID, st.Created)
	}
	if n := len(st.Delegates); n < 1 || n > 20 {
		s.t.Errorf("%s: %d delegates, want 1 to 20", st.RequestID, n)
	}
	for i, d := range st.Delegates {
		addr, err := multiaddr.NewMultiaddr(d)
		if err != nil {
			s.t.Errorf("%s: delegate %q: %v", st.RequestID, d, err)
			continue
		}
		if _, last := multiaddr.SplitLast(addr); last == nil || last.Protocol().Code != multiaddr.P_P2P {
			s.t.Errorf("%s: delegate %q does not end in /p2p/<id>", st.RequestID, d)
		}
		if slices.Contains(st.Delegates[:i], d) {
			s.t.Errorf("%s: delegate %q twice", st.RequestID, d)
		}
	}
}

// samePin compares the pin of a response with that of the request.
func samePin(t testing.TB, got, want pinsvc.Pin) {
	t.Helper()
	if !got.CID.Equals(want.CID) || got.Name != want.Name {
		t.Errorf("pin %s %q, want %s %q", got.CID, got.Name, want.CID, want.Name)
	}
	if !maps.Equal(got.Meta, want.Meta) {
		t.Errorf("%s: meta %v, want %v", got.CID, got.Meta, want.Meta)
	}
	if !slices.EqualFunc(got.Origins, want.Origins, multiaddr.Multiaddr.Equal) {
		t.Errorf("%s: origins %v, want %v", got.CID, got.Origins, want.Origins)
	}
}

// wantKind checks that a request failed with an error of that kind.
func wantKind(t testing.TB, what string, err error, kind pinsvc.Kind) {
	t.Helper()
	var failure *pinsvc.Error
	if !errors.As(err, &failure) || failure.Kind != kind {
		t.Errorf("%s failed with %v, want a *pinsvc.Error of kind %d", what, err, kind)
	}
}
