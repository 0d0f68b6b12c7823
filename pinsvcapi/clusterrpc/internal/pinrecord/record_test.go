package pinrecord

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func hashed(t *testing.T, code uint64, codec uint64) cid.Cid {
	t.Helper()
	hash, err := multihash.Sum([]byte("content"), code, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(codec, hash)
}

// C11: two peers that are asked for the two forms of a CID at once must write the
// same record.
func TestStateKey_BothFormsHaveOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 1<<20).Draw(t, "content")
		v0, v1, raw := pinsvctest.V0CID(n), pinsvctest.V1CID(n), pinsvctest.RawCID(n)
		if StateKey(v0) != v1 || StateKey(v1) != v1 {
			t.Fatalf("the keys are %s and %s, want %s", StateKey(v0), StateKey(v1), v1)
		}
		if StateKey(raw) != raw {
			t.Fatalf("the key of %s is %s", raw, StateKey(raw))
		}
		for _, c := range []cid.Cid{v0, v1, raw} {
			if key := StateKey(c); StateKey(key) != key || !pinsvc.SamePin(c, key) {
				t.Fatalf("the key of %s is %s, which is another pin or has another key", c, key)
			}
		}
	})
}

func TestStateKey_OthersAreUnchanged(t *testing.T) {
	for _, c := range []cid.Cid{
		hashed(t, multihash.SHA2_512, cid.DagProtobuf),
		hashed(t, multihash.IDENTITY, cid.DagProtobuf),
		hashed(t, multihash.BLAKE2B_MIN+31, cid.DagProtobuf),
		hashed(t, multihash.SHA2_256, cid.DagCBOR),
		hashed(t, multihash.SHA2_256, cid.Raw),
		hashed(t, multihash.SHA2_256, cid.Libp2pKey),
	} {
		if key := StateKey(c); key != c {
			t.Errorf("the key of %s is %s", c, key)
		}
	}
}

// The requested form is kept in the record, and the latest request counts.
func TestRecord_KeepsTheRequestedForm(t *testing.T) {
	v0, v1 := pinsvctest.V0CID(1), pinsvctest.V1CID(1)
	rec := New(StateKey(v0))
	for _, form := range []cid.Cid{v0, v1, v0} {
		rec = WithRequest(rec, pinsvc.Pin{CID: form})
		if got := RequestedCID(rec); got != form {
			t.Errorf("requested %s, want %s", got, form)
		}
		if _, ok := rec.Metadata["pinsvc.cid"]; ok != (form == v0) {
			t.Errorf("metadata %v for the form %s", rec.Metadata, form)
		}
		if ClientMeta(rec) != nil {
			t.Errorf("the client sees %v", ClientMeta(rec))
		}
	}
	if got := RequestID(rec); got != v1.String() {
		t.Errorf("request ID %s, want the state key %s", got, v1)
	}
}

func TestRecord_RequestedFormOfAnotherToolIsIgnored(t *testing.T) {
	rec := New(pinsvctest.V1CID(1))
	for _, value := range []string{
		pinsvctest.V0CID(1).String(),                                      // no owner
		pinsvctest.V0CID(1).String() + " " + pinsvctest.V1CID(2).String(), // copied from another record
		pinsvctest.V0CID(2).String() + " " + pinsvctest.V1CID(1).String(), // another pin
		"not a CID " + pinsvctest.V1CID(1).String(),
		"",
	} {
		rec.Metadata = map[string]string{"pinsvc.cid": value}
		if got := RequestedCID(rec); got != rec.Cid.Cid {
			t.Errorf("%q is read as %s", value, got)
		}
	}
}

func someOrigins(t testing.TB, texts ...string) (list []multiaddr.Multiaddr) {
	for _, text := range texts {
		addr, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, addr)
	}
	return list
}

// full is a record of another tool with everything set.
func full(t testing.TB) api.Pin {
	ref := api.NewCid(pinsvctest.RawCID(7))
	rec := New(pinsvctest.RawCID(1))
	rec.Name, rec.ShardSize, rec.ExpireAt = "old", 7, time.Unix(1_900_000_000, 0)
	rec.ReplicationFactorMin, rec.ReplicationFactorMax = 2, 3
	rec.Mode, rec.MaxDepth, rec.Reference = api.PinModeDirect, 0, &ref
	rec.PinUpdate = api.NewCid(pinsvctest.RawCID(9))
	rec.Timestamp = time.Unix(1_700_000_000, 0)
	rec.Allocations = []peer.ID{testPeer(t, 1), testPeer(t, 2)}
	rec.UserAllocations = []peer.ID{testPeer(t, 3)}
	rec.Metadata = map[string]string{
		"pinsvc.later": "a key of a later version", "old": "gone",
		"pinsvc.created": "2026-01-02T15:04:05.678Z " + RequestID(rec),
	}
	for _, addr := range someOrigins(t, "/ip4/10.0.0.1/tcp/4001") {
		rec.Origins = append(rec.Origins, api.NewMultiaddrWithValue(addr))
	}
	return rec
}

// testPeer is a valid peer ID: the identity hash of a few bytes.
func testPeer(t testing.TB, n int) peer.ID {
	hash, err := multihash.Sum([]byte{byte(n), 1, 2, 3}, multihash.IDENTITY, -1)
	if err != nil {
		t.Fatal(err)
	}
	return peer.ID(hash)
}

func TestRecord_WithRequestKeepsTheRest(t *testing.T) {
	rec := full(t)
	got := WithRequest(rec, pinsvc.Pin{
		CID: rec.Cid.Cid, Name: "new", Meta: map[string]string{"k": "v"},
		Origins: someOrigins(t, "/ip4/10.0.0.2/tcp/4001", "/ip4/10.0.0.3/tcp/4001"),
	})
	wantMeta := map[string]string{
		"k": "v", "pinsvc.later": "a key of a later version", "pinsvc.created": rec.Metadata["pinsvc.created"],
	}
	if got.Name != "new" || !maps.Equal(got.Metadata, wantMeta) {
		t.Errorf("name %q, metadata %v", got.Name, got.Metadata)
	}
	if !maps.Equal(ClientMeta(got), map[string]string{"k": "v"}) {
		t.Errorf("the client sees %v", ClientMeta(got))
	}
	if len(got.Origins) != 2 || got.Origins[0].String() != "/ip4/10.0.0.2/tcp/4001" {
		t.Errorf("origins %v", got.Origins)
	}
	created, ours := CreatedOf(got)
	if before, _ := CreatedOf(rec); !ours || !created.Equal(before) {
		t.Errorf("created %v, before %v", created, before)
	}
	// All that the request does not set is as it was.
	got.Name, got.Metadata, got.Origins = rec.Name, rec.Metadata, rec.Origins
	got.Mode, got.MaxDepth = rec.Mode, rec.MaxDepth
	if !reflect.DeepEqual(got, rec) {
		t.Errorf("%+v, want %+v", got, rec)
	}
	empty := WithRequest(rec, pinsvc.Pin{CID: rec.Cid.Cid})
	if empty.Name != "" || ClientMeta(empty) != nil || len(empty.Origins) != 0 {
		t.Errorf("a request without name, metadata and origins leaves %+v", empty)
	}
}

func TestRecord_WithRequestMakesDataPinsRecursive(t *testing.T) {
	for _, kind := range []api.PinType{api.DataType, api.MetaType, api.ClusterDAGType, api.ShardType} {
		rec := full(t)
		rec.Type = kind
		got := WithRequest(rec, pinsvc.Pin{CID: rec.Cid.Cid})
		recursive := got.Mode == api.PinModeRecursive && got.MaxDepth == -1
		if recursive != (kind == api.DataType) {
			t.Errorf("%s: mode %s, depth %d", kind, got.Mode, got.MaxDepth)
		}
		if Direct(rec) != (kind == api.DataType) || Direct(got) {
			t.Errorf("%s: direct before: %t, after: %t", kind, Direct(rec), Direct(got))
		}
		if !recursive && (got.Mode != rec.Mode || got.MaxDepth != rec.MaxDepth) {
			t.Errorf("%s: mode %s, depth %d, before %s and %d", kind, got.Mode, got.MaxDepth, rec.Mode, rec.MaxDepth)
		}
	}
	if fresh := New(pinsvctest.RawCID(1)); Direct(fresh) || fresh.Type != api.DataType {
		t.Errorf("a new record is %s, direct: %t", fresh.Type, Direct(fresh))
	}
}

// The records of the shared state are read-only: calls in the same process share
// their maps and slices.
func TestRecord_WithRequestSharesNothing(t *testing.T) {
	rec, same := full(t), full(t)
	meta := map[string]string{"k": "v"}
	origins := someOrigins(t, "/ip4/10.0.0.2/tcp/4001")
	got := WithRequest(rec, pinsvc.Pin{CID: rec.Cid.Cid, Meta: meta, Origins: origins})
	got.Metadata["k"], got.Metadata["pinsvc.later"] = "changed", "changed"
	Stamp(got, time.Unix(1, 0))
	got.Origins[0] = api.NewMultiaddrWithValue(someOrigins(t, "/ip4/10.9.9.9/tcp/1")[0])
	if meta["k"] != "v" || origins[0].String() != "/ip4/10.0.0.2/tcp/4001" {
		t.Error("the request was changed")
	}
	if !reflect.DeepEqual(rec, same) {
		t.Error("the record was changed by its metadata or origins")
	}
	got.Allocations[0], got.UserAllocations[0] = testPeer(t, 8), testPeer(t, 9)
	if !slices.Equal(rec.Allocations, same.Allocations) || !slices.Equal(rec.UserAllocations, same.UserAllocations) {
		t.Error("the record was changed by its allocations")
	}
}

// A record that another tool wrote over gets the reserved metadata back (D2), and
// all that the tool wrote stays.
func TestRecord_WithReserved(t *testing.T) {
	created := time.Date(2026, 1, 2, 15, 4, 5, 678_000_000, time.UTC)
	v0, v1 := pinsvctest.V0CID(1), pinsvctest.V1CID(1)
	for name, metadata := range map[string]map[string]string{
		"none":          nil,
		"of the tool":   {"of": "ctl"},
		"of the client": {"of": "ctl", "pinsvc.created": "2020-01-01T00:00:00.000Z " + v1.String(), "pinsvc.cid": v0.String() + " " + v1.String()},
		"of a copy":     {"pinsvc.created": "2020-01-01T00:00:00.000Z " + v0.String(), "pinsvc.later": "x"},
	} {
		for _, form := range []cid.Cid{v0, v1} {
			rec := full(t)
			rec.Cid, rec.Metadata = api.NewCid(v1), metadata
			before := maps.Clone(metadata)
			got := WithReserved(rec, form, created)
			if at, ours := CreatedOf(got); !ours || !at.Equal(created) || RequestedCID(got) != form {
				t.Errorf("%s: created %v (ours: %t), requested %s, want %s", name, at, ours, RequestedCID(got), form)
			}
			if !maps.Equal(metadata, before) {
				t.Errorf("%s: the metadata of the record were changed", name)
			}
			if !maps.Equal(ClientMeta(got), ClientMeta(rec)) || got.Metadata["pinsvc.later"] != metadata["pinsvc.later"] {
				t.Errorf("%s: metadata %v", name, got.Metadata)
			}
			got.Metadata = rec.Metadata
			if !reflect.DeepEqual(got, rec) {
				t.Errorf("%s: %+v, want %+v", name, got, rec)
			}
		}
	}
}

func TestRecord_Visible(t *testing.T) {
	for kind, want := range map[api.PinType]bool{
		api.DataType: true, api.MetaType: true, api.ClusterDAGType: false, api.ShardType: false,
	} {
		rec := New(pinsvctest.RawCID(1))
		rec.Type = kind
		if got := Visible(rec); got != want {
			t.Errorf("%s is a pin by itself: %t", kind, got)
		}
	}
}

func TestRecord_CheckPin(t *testing.T) {
	ok := pinsvc.Pin{CID: pinsvctest.RawCID(1), Meta: map[string]string{"k": "v", "pinsvc": "x", "my.pinsvc.x": "y"}}
	if err := CheckPin(ok); err != nil {
		t.Error(err)
	}
	for name, pin := range map[string]pinsvc.Pin{
		"no CID":         {},
		"a reserved key": {CID: ok.CID, Meta: map[string]string{"pinsvc.created": "x"}},
		"a later key":    {CID: ok.CID, Meta: map[string]string{"pinsvc.owners": "x"}},
	} {
		err := CheckPin(pin)
		if refusal, is := errors.AsType[*pinsvc.Error](err); !is || refusal.Kind != pinsvc.KindBadRequest || refusal.Details == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := CheckPin(pinsvc.Pin{CID: ok.CID, Meta: map[string]string{"pinsvc.x": ""}}); err == nil || !strings.Contains(err.Error(), `"pinsvc.x"`) {
		t.Errorf("%v does not name the key", err)
	}
}

func TestClientMeta_SharesNothing(t *testing.T) {
	rec := full(t)
	ClientMeta(rec)["old"] = "changed"
	if rec.Metadata["old"] != "gone" || len(rec.Metadata) != 3 {
		t.Error("the record was changed")
	}
}

func TestForm_TellsRecordsApart(t *testing.T) {
	changes := map[string]func(*api.Pin){
		"the same":       func(*api.Pin) {},
		"cid":            func(r *api.Pin) { r.Cid = api.NewCid(pinsvctest.RawCID(2)) },
		"name":           func(r *api.Pin) { r.Name = "other" },
		"type":           func(r *api.Pin) { r.Type = api.MetaType },
		"timestamp":      func(r *api.Pin) { r.Timestamp = r.Timestamp.Add(time.Second) },
		"expiry":         func(r *api.Pin) { r.ExpireAt = time.Time{} },
		"depth":          func(r *api.Pin) { r.MaxDepth = -1 },
		"minimum":        func(r *api.Pin) { r.ReplicationFactorMin = 1 },
		"maximum":        func(r *api.Pin) { r.ReplicationFactorMax = 4 },
		"metadata value": func(r *api.Pin) { r.Metadata["old"] = "x" },
		"metadata key":   func(r *api.Pin) { delete(r.Metadata, "old") },
		"allocations":    func(r *api.Pin) { r.Allocations = r.Allocations[:1] },
		"origins":        func(r *api.Pin) { r.Origins = nil },
		"reference":      func(r *api.Pin) { r.Reference = nil },
		"update":         func(r *api.Pin) { r.PinUpdate = api.CidUndef },
		"shard size":     func(r *api.Pin) { r.ShardSize = 8 },
	}
	forms := make(map[uint64]string)
	for name, change := range changes {
		rec := full(t)
		change(&rec)
		form := Form(rec)
		if other, ok := forms[form]; ok {
			t.Errorf("%s and %s have one form", name, other)
		}
		if form == Absent || form == unreadable {
			t.Errorf("%s: form %d", name, form)
		}
		forms[form] = name
	}
}

// The form is that of the record as the state keeps it: what the state does not
// keep makes no difference, nor does the order of a map.
func TestForm_SurvivesTheState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rec := New(pinsvctest.RawCID(rapid.IntRange(0, 100).Draw(t, "cid")))
		rec.Name = rapid.String().Draw(t, "name")
		rec.Metadata = rapid.MapOfN(rapid.StringN(0, 4, -1), rapid.String(), 0, 8).Draw(t, "metadata")
		rec.Timestamp = time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "second"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanosecond"))
		rec.ReplicationFactorMin = rapid.IntRange(-1, 5).Draw(t, "minimum")
		if rapid.Bool().Draw(t, "expires") {
			rec.ExpireAt = time.Unix(1_900_000_000, 7)
		}
		form := Form(rec)
		data, err := rec.ProtoMarshal()
		if err != nil {
			t.Fatal(err)
		}
		var kept api.Pin
		if err := kept.ProtoUnmarshal(data); err != nil {
			t.Fatal(err)
		}
		if again := Form(kept); again != form || Form(rec) != form {
			t.Fatalf("form %d, from the state %d", form, again)
		}
	})
}

func TestForm_OfARecordThatCannotBeWritten(t *testing.T) {
	rec := full(t)
	rec.Name = "\xff" // Protocol buffers take UTF-8 alone.
	if _, err := rec.ProtoMarshal(); err == nil {
		t.Fatal("the record can be written")
	}
	if form := Form(rec); form != unreadable || form == Absent {
		t.Errorf("form %d", form)
	}
}
