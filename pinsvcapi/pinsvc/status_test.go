package pinsvc

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestMarshalText_RoundTrips(t *testing.T) {
	for _, s := range AllStatuses.Statuses() {
		checkWord(t, s)
	}
	for _, m := range []TextMatchingStrategy{MatchExact, MatchIExact, MatchPartial, MatchIPartial} {
		checkWord(t, m)
	}
	for _, bad := range []any{Status(0), StatusFailed + 1, Status(255), MatchIPartial + 1} {
		if text, err := json.Marshal(bad); err == nil {
			t.Errorf("%#v was written as %s", bad, text)
		}
		if text := fmt.Sprint(bad); text != "undefined" {
			t.Errorf("%#v is called %s", bad, text)
		}
	}
}

func checkWord[T comparable](t *testing.T, value T) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var back T
	if err := json.Unmarshal(text, &back); err != nil || back != value {
		t.Errorf("%s was read as %v, %v", text, back, err)
	}
	if err := json.Unmarshal([]byte(`"undefined"`), &back); err == nil {
		t.Errorf(`"undefined" was read as %v`, back)
	}
}

func TestStatusSet(t *testing.T) {
	if got := SetOf(0, StatusFailed, StatusFailed+1, StatusQueued, 255).String(); got != "queued,failed" {
		t.Errorf("the set is %s", got)
	}
	if AllStatuses.String() != "queued,pinning,pinned,failed" || StatusSet(0).String() != "" || StatusSet(0).Has(0) {
		t.Error("the full or the empty set is wrong")
	}
}
