package peerstatus

import (
	"encoding/json"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// FuzzRecord enters any record that another peer may have written into the shared
// state, and any report: the page that shows the pin is valid JSON, and the service
// goes on.
func FuzzRecord(f *testing.F) {
	tt := newTrackerTest(f)
	for _, rec := range []api.Pin{tt.rec, {Cid: tt.rec.Cid}, api.PinWithOpts(tt.rec.Cid, api.PinOptions{
		ReplicationFactorMin: -7, ReplicationFactorMax: 3, Name: "\x00\u202e\u2028<", Metadata: map[string]string{
			"pinsvc.created": "9223372036854775807 " + tt.rec.Cid.String(), "pinsvc.cid": "x " + tt.rec.Cid.String(), "": "\u0000",
		},
	})} {
		data, err := rec.ProtoMarshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "no space left on device", uint16(api.TrackerStatusPinError), 1, string(peerA))
	}
	f.Fuzz(func(t *testing.T, data []byte, text string, status uint16, attempts int, from string) {
		var rec api.Pin
		if err := rec.ProtoUnmarshal(data); err != nil {
			return // The state does not hand it out.
		}
		tt := newTrackerTest(t)
		rec.Cid = api.NewCid(tt.key) // It is known by its key.
		tt.PutRecord(rec, true)
		info := pinInfo(api.TrackerStatus(status), text)
		info.Cid, info.AttemptCount = rec.Cid, attempts
		tt.Observe(peer.ID(from), tt.key, ReportOf(info))
		tt.Observe(peerB, tt.key, ReportOf(info))
		page, err := tt.view.Page(t.Context(), &pinsvc.Query{Statuses: pinsvc.AllStatuses, Limit: 10})
		if err != nil || len(page.Entries) != 1 {
			t.Fatalf("%d rows, %v", len(page.Entries), err)
		}
		checkRow(t, tt, &page.Entries[0])
	})
}

func checkRow(t *testing.T, tt *trackerTest, e *pinset.Entry) {
	t.Helper()
	row := pinsvc.Row{
		Key: e.Key, CID: e.Key, Status: e.Status, Created: e.Created, Name: e.Name, Meta: e.Meta,
		Info: tt.Summary(e.Placement, e.Vector).RawInfo, Delegates: "[]",
	}
	if set := tt.OriginSet(e.Origins); set != nil {
		row.Origins = set.Raw
	}
	text, err := row.AppendJSON(nil)
	if err != nil || !json.Valid(text) {
		t.Fatalf("%v: %q", err, text)
	}
	var st pinsvc.PinStatus
	if err := json.Unmarshal(text, &st); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	details, _ := tt.Details(tt.key, e.Status)
	if len(details) > 4096 {
		t.Errorf("status_details has %d bytes", len(details))
	}
}
