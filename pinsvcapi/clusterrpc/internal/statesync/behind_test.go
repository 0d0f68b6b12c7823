package statesync

import (
	"testing"
	"testing/synctest"
	"time"
)

// A row is behind from the announcement of a change until that was read, also when the read takes long, or
// fails and those of other pins do not.
func TestSyncer_IsBehindUntilAChangeIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState(named(1, "before"), named(2, "other"))
		s := running(t, state.syncer())
		hang := make(chan struct{})
		state.set(func() {
			rec := named(1, "after")
			state.records[rec.Cid.Cid] = rec
			state.hang[rec.Cid.Cid] = hang
			state.unread[rec.Cid.Cid] = true
		})
		s.Notify(eventOf(named(1, "after")))
		synctest.Wait()
		if !s.Behind(key(1).Cid) || s.Behind(key(2).Cid) {
			t.Errorf("while it is read: %t, another pin: %t", s.Behind(key(1).Cid), s.Behind(key(2).Cid))
		}
		close(hang)
		synctest.Wait()
		if _, _, err := s.Get(t.Context(), key(2)); err != nil {
			t.Fatal(err)
		}
		if !s.Behind(key(1).Cid) || s.Behind(key(2).Cid) {
			t.Errorf("when it could not be read: %t, another pin: %t", s.Behind(key(1).Cid), s.Behind(key(2).Cid))
		}
		state.set(func() { clear(state.unread) })
		time.Sleep(failedPause)
		synctest.Wait()
		if row, _ := state.row(1); row.Name != "after" || s.Behind(key(1).Cid) {
			t.Errorf("in the end: row %q, behind: %t", row.Name, s.Behind(key(1).Cid))
		}
	})
}
