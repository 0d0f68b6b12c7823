package pinsvc

import (
	"testing"
	"time"

	"github.com/ipfs/go-cid"
)

func TestQuery_Matches(t *testing.T) {
	v0 := cid.MustParse(textV0)
	v0AsV1, _ := OtherForm(v0)
	created := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	ps := PinStatus{Status: StatusQueued, Created: created, Pin: Pin{CID: v0, Name: "Name", Meta: map[string]string{"a": "", "b": "1"}}}
	tests := map[string]struct {
		change func(*Query)
		want   bool
	}{
		"everything":       {func(*Query) {}, true},
		"CID":              {func(q *Query) { q.CIDs = []cid.Cid{cid.MustParse(textV1), v0} }, true},
		"CID, other form":  {func(q *Query) { q.CIDs = []cid.Cid{v0AsV1} }, true},
		"another CID":      {func(q *Query) { q.CIDs = []cid.Cid{cid.MustParse(textV1)} }, false},
		"name":             {func(q *Query) { q.Name = "Name" }, true},
		"another name":     {func(q *Query) { q.Name = "name" }, false},
		"name, any case":   {func(q *Query) { q.Name, q.Match = "name", MatchIExact }, true},
		"status":           {func(q *Query) { q.Statuses = SetOf(StatusQueued, StatusFailed) }, true},
		"another status":   {func(q *Query) { q.Statuses = SetOf(StatusPinned) }, false},
		"before itself":    {func(q *Query) { q.Before = created }, false},
		"before later":     {func(q *Query) { q.Before = created.Add(1) }, true},
		"after itself":     {func(q *Query) { q.After = created }, false},
		"after earlier":    {func(q *Query) { q.After = created.Add(-1) }, true},
		"meta":             {func(q *Query) { q.Meta = map[string]string{"b": "1"} }, true},
		"meta, empty":      {func(q *Query) { q.Meta = map[string]string{"a": ""} }, true},
		"meta, missing":    {func(q *Query) { q.Meta = map[string]string{"c": ""} }, false},
		"meta, one of two": {func(q *Query) { q.Meta = map[string]string{"b": "1", "a": "x"} }, false},
	}
	for name, test := range tests {
		q := Query{Statuses: AllStatuses, Limit: DefaultLimit}
		test.change(&q)
		if got := q.Matches(ps); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
