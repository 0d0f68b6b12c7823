package clusterrpc_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestEvents_TheViewsOfAllPeersFollowEachOther(t *testing.T) {
	peers := clustertest.Start(t, 3, clustertest.Options{})
	var services []service
	for _, p := range peers {
		services = append(services, service{newBackend(t, p, clusterrpc.Options{}), t, p})
	}
	var ids []string
	for i, s := range services {
		ids = append(ids, s.add(pinsvc.Pin{CID: pinsvctest.RawCID(i), Name: fmt.Sprint("made at ", i)}).RequestID)
		for _, other := range services {
			other.counts(pinsvc.Query{}, i+1)
		}
	}
	for i, s := range services {
		s.add(pinsvc.Pin{CID: pinsvctest.RawCID((i + 1) % 3), Name: "renamed"})
	}
	for _, s := range services {
		s.counts(pinsvc.Query{Name: "renamed"}, 3)
		s.counts(pinsvc.Query{Statuses: pinsvc.SetOf(pinsvc.StatusPinned)}, 3)
	}
	for i, s := range services {
		if err := s.Delete(t.Context(), "", ids[(i+2)%3]); err != nil {
			t.Error(err)
		}
		for _, other := range services {
			other.counts(pinsvc.Query{}, 2-i)
		}
	}
}

func TestEvents_OfChangesByOthersReachLists(t *testing.T) {
	b := ready(t, clusterfake.New(), clusterrpc.Options{ResyncInterval: time.Hour, ScanInterval: time.Hour})
	rec := b.fake.Held(pinsvctest.RawCID(1))
	b.events.Send(clusterrpc.RecordEvent(rec))
	await.True(t, "listed", func() bool { return b.count() == 1 })
	b.fake.Remove(rec)
	b.events.Send(clusterrpc.RemovalEvent(rec.Cid))
	await.True(t, "not listed", func() bool { return b.count() == 0 })
}

func TestEvents_WhatNoneAnnouncedIsFoundByResyncs(t *testing.T) {
	fake := clusterfake.New()
	gone := fake.Held(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{ResyncInterval: 5 * time.Millisecond})
	fake.Remove(gone)
	fake.Held(pinsvctest.RawCID(2))
	fake.Held(pinsvctest.RawCID(3))
	await.True(t, "both are listed and the first is not", func() bool {
		_, has := b.View().Get(gone.Cid.Cid)
		return !has && b.count() == 2
	})
}

// C12: the clock of the peer that wrote the record is behind. It is a re-add all the
// same, and the attempts begin anew.
func TestEvents_ARecordWithAnEarlierTimeIsARewrite(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	rec.Metadata = make(map[string]string)
	pinrecord.Stamp(rec, rec.Timestamp.Add(-time.Hour)) // Else it were another pin.
	fake.Put(rec)
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusPinError, "merkledag: malformed"))
	b := ready(t, fake, clusterrpc.Options{})
	b.becomes(failed)
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusPinning, ""))
	rec.Name, rec.Timestamp = "again", rec.Timestamp.Add(-5*time.Minute)
	b.changed(rec)
	if st := b.becomes(pinning); st.Pin.Name != "again" {
		t.Errorf("%+v", st)
	}
}
