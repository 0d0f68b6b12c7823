package replacement

import (
	"slices"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// Of a chain in which one in the middle is complete, what that has replaced is due, and
// nothing newer, whatever becomes of the end of the chain.
func TestIndex_ACompleteLinkReleasesWhatItReplaced(t *testing.T) {
	a := made(1, 1000)
	b := made(2, 2000, revision(a))
	c := made(3, 3000, revision(b), revision(a))
	d := made(4, 4000, revision(c), revision(b), revision(a))
	f := newFixture()
	f.PutRecord(a, false)
	f.PutRecord(b, false)
	f.PutRecord(c, false)
	f.PutRecord(d, false)
	undecided := f.Undecided()
	if len(undecided) != 2 || !slices.Contains(undecided, revision(b)) || !slices.Contains(undecided, revision(c)) {
		t.Errorf("undecided: %v", undecided)
	}
	if len(f.Due()) != 0 {
		t.Error("due before anything is complete")
	}
	f.Complete(revision(b))
	if due := f.Due(); !slices.Equal(due, []pinrecord.Replaced{revision(a)}) || !f.IsDue(revision(a)) {
		t.Errorf("due: %v", due)
	}
	if by := f.Replacing(revision(a)); !slices.Equal(by, []cid.Cid{b.Cid.Cid}) {
		t.Errorf("it is not needed because of %v", by)
	}
	if f.IsDue(revision(b)) || f.IsDue(revision(c)) {
		t.Error("what is newer is due")
	}
	f.DeleteRecord(a.Cid.Cid)
	if kept := f.Kept(d.Cid.Cid); len(kept) != 2 {
		t.Errorf("kept %v", kept)
	}
	// It is requested anew: what was found of the old revision counts no more.
	f.PutRecord(made(2, 9000), false)
	if !f.shows(2) || len(f.complete) != 0 {
		t.Errorf("complete: %v", f.complete)
	}
}

// A pin was replaced at two peers at once; what one of the two chains has got does not
// release what the other was promised.
func TestIndex_ACompleteLinkOfOneChainKeepsTheOther(t *testing.T) {
	a := made(1, 1000)
	b := made(2, 2000, revision(a))
	f := newFixture()
	f.PutRecord(a, false)
	f.PutRecord(b, false)
	f.PutRecord(made(3, 3000, revision(b), revision(a)), false)
	f.PutRecord(made(4, 2001, revision(a)), false)
	f.Complete(revision(b))
	if len(f.Due()) != 0 {
		t.Error("the old content is due although another pin that has replaced it is not pinned")
	}
	f.pinned(4)
	if !f.IsDue(revision(a)) {
		t.Error("it is not due")
	}
	if by := f.Replacing(revision(a)); len(by) != 2 || !slices.Contains(by, pinsvctest.RawCID(2)) || !slices.Contains(by, pinsvctest.RawCID(4)) {
		t.Errorf("it is not needed because of %v", by)
	}
}

// A pin that is removed and made anew has replaced nothing: what it had replaced before is kept for
// others alone.
func TestIndex_APinThatIsMadeAnewKeepsNothing(t *testing.T) {
	a := made(1, 1000)
	f := newFixture()
	f.PutRecord(a, false)
	f.PutRecord(made(2, 2000, revision(a)), false)
	f.PutRecord(made(3, 3000, revision(a)), false)
	f.DeleteRecord(pinsvctest.RawCID(2))
	f.PutRecord(made(2, 4000), false)
	if kept := f.KeptOnlyBy(pinsvctest.RawCID(3)); !slices.Equal(kept, []pinrecord.Replaced{revision(a)}) {
		t.Errorf("the last that has replaced it does not keep it alone: %v", kept)
	}
	f.pinned(3)
	if by := f.Replacing(revision(a)); !f.IsDue(revision(a)) || !slices.Equal(by, []cid.Cid{pinsvctest.RawCID(3)}) {
		t.Errorf("it is due: %t, for the sake of %v", f.IsDue(revision(a)), by)
	}
}

// A failed link can go if what it has replaced stays named by all that name it.
func TestIndex_SpareLinks(t *testing.T) {
	a := made(1, 1000)
	b := made(2, 2000, revision(a))
	for name, tt := range map[string]struct {
		end   []pinrecord.Replaced
		spare bool
	}{
		"all are named":    {[]pinrecord.Replaced{revision(b), revision(a)}, true},
		"there is no room": {[]pinrecord.Replaced{revision(b)}, false},
	} {
		f := newFixture()
		f.PutRecord(a, false)
		f.PutRecord(b, false)
		f.PutRecord(made(3, 3000, tt.end...), false)
		if f.IsSpare(revision(b)) != tt.spare {
			t.Errorf("%s: spare %t", name, !tt.spare)
		}
		if f.IsSpare(revision(a)) {
			t.Errorf("%s: the oldest content is spare", name)
		}
		if !tt.spare {
			continue
		}
		f.DeleteRecord(b.Cid.Cid)
		f.now = f.now.Add(graceTime)
		if len(f.Refresh()) != 0 || f.shows(1) || len(f.Kept(pinsvctest.RawCID(3))) != 1 {
			t.Errorf("%s: the oldest content is shown, or not kept", name)
		}
	}
}

// Another tool removes the new pin, and a client pins its CID anew, plainly: nobody has taken the
// place of the old one, which comes back.
func TestIndex_APinThatIsMadeAnewReleasesNothing(t *testing.T) {
	a := made(1, 1000)
	f := newFixture()
	f.PutRecord(a, false)
	f.PutRecord(made(2, 2000, revision(a)), false)
	f.DeleteRecord(pinsvctest.RawCID(2))
	f.PutRecord(made(2, 5000), true)
	f.pinned(2)
	if f.IsDue(revision(a)) || len(f.Due()) != 0 {
		t.Error("the old content is due, although the pin that is there has replaced nothing")
	}
	if kept := f.Kept(pinsvctest.RawCID(2)); len(kept) != 0 {
		t.Errorf("that pin says that it keeps %v", kept)
	}
	f.now = f.now.Add(graceTime)
	f.Refresh()
	f.PutRecord(a, false)
	if !f.shows(1) {
		t.Error("the old pin does not come back")
	}
}
