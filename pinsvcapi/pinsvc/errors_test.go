package pinsvc

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
)

func TestFailureOf_HidesInternalDetails(t *testing.T) {
	cause := fmt.Errorf("secret")
	tests := []struct {
		err  error
		want Failure
	}{
		{cause, Failure{Reason: "INTERNAL_SERVER_ERROR"}},
		{Wrap(KindInternal, cause, "detail"), Failure{Reason: "INTERNAL_SERVER_ERROR"}},
		{Wrap(200, cause, "detail"), Failure{Reason: "INTERNAL_SERVER_ERROR"}},
		{Wrap(KindNotFound, cause, "detail"), Failure{Reason: "NOT_FOUND", Details: "detail"}},
		{fmt.Errorf("wrapped: %w", Wrap(KindUnavailable, cause, "detail")), Failure{Reason: "SERVICE_UNAVAILABLE", Details: "detail"}},
	}
	for _, test := range tests {
		if got := FailureOf(test.err); got != test.want {
			t.Errorf("%v: %+v", test.err, got)
		}
	}
	reasons := make(map[string]bool)
	for kind := KindInternal; kind <= KindUnavailable; kind++ {
		reasons[kind.String()] = true
	}
	if want := int(KindUnavailable) + 1; len(reasons) != want {
		t.Errorf("%d kinds have %d reasons", want, len(reasons))
	}
	var back Failure
	data, err := json.Marshal(Failure{Reason: "X"})
	if err != nil || string(data) != `{"error":{"reason":"X"}}` {
		t.Errorf("got %s, %v", data, err)
	}
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back, Failure{Reason: "X"}) {
		t.Errorf("got %+v, %v", back, err)
	}
}
