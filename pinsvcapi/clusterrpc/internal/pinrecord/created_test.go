package pinrecord

import (
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestCreated_IsKeptInTheRecord(t *testing.T) {
	want := time.Date(2026, 1, 2, 15, 4, 5, 678_000_000, time.UTC)
	rec := api.PinCid(api.NewCid(pinsvctest.RawCID(1)))
	rec.Metadata = map[string]string{}
	Stamp(rec, want)
	if got := rec.Metadata["pinsvc.created"]; got != "2026-01-02T15:04:05.678Z "+rec.Cid.String() {
		t.Errorf("stored as %q", got)
	}
	rec.Timestamp = time.Now() // The cluster refreshes it when it pins again.
	if got, ours := CreatedOf(rec); !got.Equal(want) || !ours || got.Location() != time.UTC {
		t.Errorf("%v %t, want %v", got, ours, want)
	}
}

func TestCreated_OfAnotherCIDIsIgnored(t *testing.T) {
	rec := api.PinCid(api.NewCid(pinsvctest.RawCID(1)))
	rec.Timestamp = time.Unix(1_700_000_000, 0)
	plain, _ := CreatedOf(rec)
	for _, value := range []string{
		"2026-01-02T15:04:05.678Z " + pinsvctest.RawCID(2).String(),
		"2026-01-02T15:04:05.678Z",
		"yesterday " + rec.Cid.String(),
		"9999-12-31T23:59:59.999Z " + rec.Cid.String(),
		"1901-01-02T15:04:05.678Z " + rec.Cid.String(),
		"",
	} {
		rec.Metadata = map[string]string{"pinsvc.created": value}
		if got, ours := CreatedOf(rec); ours || !got.Equal(plain) {
			t.Errorf("%q is read as %v", value, got)
		}
	}
}

func TestCreated_OfPinsOfOtherToolsIsStable(t *testing.T) {
	times := make(map[time.Time]bool)
	for i := range 200 {
		rec := api.PinCid(api.NewCid(pinsvctest.RawCID(i)))
		rec.Timestamp = time.Unix(1_700_000_000, 123_456_789)
		created, ours := CreatedOf(rec)
		rec.Timestamp = rec.Timestamp.Truncate(time.Second) // as the state keeps it
		if again, _ := CreatedOf(rec); ours || !again.Equal(created) {
			t.Fatalf("%v, then %v", created, again)
		}
		if created.Unix() != 1_700_000_000 || created.Nanosecond()%int(time.Millisecond) != 0 {
			t.Fatalf("%v is not a millisecond of the stored second", created)
		}
		times[created] = true
	}
	if len(times) < 150 {
		t.Errorf("200 pins of one second share %d times", len(times))
	}
	rec := api.PinCid(api.NewCid(pinsvctest.RawCID(1)))
	rec.Timestamp = time.Time{}
	if created, _ := CreatedOf(rec); created.Year() != 1970 {
		t.Errorf("a record without time was created %v", created)
	}
	rec.Timestamp = time.Unix(1<<60, 0)
	created, _ := CreatedOf(rec)
	if _, err := created.Add(time.Hour).MarshalJSON(); err != nil {
		t.Error(err)
	}
}
