package replacement

import (
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// The view does not have the whole revision of a pin that was revised; who has read its record does.
func TestIndex_HideNeedsNoOtherRead(t *testing.T) {
	key := pinsvctest.RawCID(1)
	old := made(1, 1000)
	pinrecord.Revise(old, time.UnixMilli(5000))
	changed := made(1, 1000)
	pinrecord.Revise(changed, time.UnixMilli(7000))
	replacing := made(2, 6000, revision(old))

	f := newFixture()
	f.PutRecord(old, false)
	if f.Withholds(key) || f.Hide(old) || !f.shows(1) {
		t.Error("a pin that nobody names is hidden")
	}
	f.PutRecord(replacing, false)
	if !f.Withholds(key) || !f.shows(1) {
		t.Error("it is hidden by a part of its revision")
	}
	if !f.Hide(old) || f.shows(1) || !f.Withholds(key) || f.Withholds(pinsvctest.RawCID(2)) {
		t.Error("it is not hidden")
	}
	if kept := f.Kept(pinsvctest.RawCID(2)); !slices.Equal(kept, []cid.Cid{key}) || len(f.Refresh()) != 0 {
		t.Errorf("kept %v", kept)
	}
	if !f.Hide(old) || f.shows(1) {
		t.Error("it is not hidden any more")
	}
	f.PutRecord(changed, false) // It is requested anew.
	if f.Hide(old) || !f.shows(1) || f.Withholds(key) {
		t.Error("another revision is hidden")
	}
}
