package pinsvc

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
)

// Limits of a list request.
const (
	DefaultLimit = 10
	MaxLimit     = 1000
	MaxCIDs      = 10
)

// Query is a validated list request. A pin must pass every filter that is set.
type Query struct {
	// CIDs are at most MaxCIDs CIDs of which no two are the same pin (D1);
	// empty means any.
	CIDs []cid.Cid
	// Name is compared by the strategy Match; empty means any.
	Name  string
	Match TextMatchingStrategy
	// Statuses is never empty: the parser fills in the default (D4).
	Statuses StatusSet
	// Before and After are exclusive, in UTC, and may be finer than a
	// millisecond; zero means unbounded.
	Before, After time.Time
	// Limit is 1 to MaxLimit.
	Limit int
	// Meta are pairs that a pin must have; empty means any.
	Meta map[string]string
}

// Matches reports whether the pin passes every filter. Limit is no filter. It is
// the definition by which faster implementations are tested.
func (q Query) Matches(ps PinStatus) bool {
	return q.wantsCID(ps.Pin.CID) &&
		q.Match.Matches(ps.Pin.Name, q.Name) &&
		q.Statuses.Has(ps.Status) &&
		(q.Before.IsZero() || ps.Created.Before(q.Before)) &&
		(q.After.IsZero() || ps.Created.After(q.After)) &&
		hasMeta(ps.Pin.Meta, q.Meta)
}

func (q Query) wantsCID(c cid.Cid) bool {
	return len(q.CIDs) == 0 ||
		slices.ContainsFunc(q.CIDs, func(want cid.Cid) bool { return SamePin(want, c) })
}

// Values are parameters that ParseQuery reads as this query. They always have
// status and limit, so that they do not depend on defaults.
func (q Query) Values() url.Values {
	values := url.Values{
		"status": {q.Statuses.String()},
		"limit":  {strconv.Itoa(q.Limit)},
	}
	if len(q.CIDs) > 0 {
		texts := make([]string, len(q.CIDs))
		for i, c := range q.CIDs {
			texts[i] = c.String()
		}
		values.Set("cid", strings.Join(texts, ","))
	}
	if q.Name != "" {
		values.Set("name", q.Name)
	}
	if q.Match != MatchExact {
		values.Set("match", q.Match.String())
	}
	if !q.Before.IsZero() {
		values.Set("before", q.Before.Format(time.RFC3339Nano))
	}
	if !q.After.IsZero() {
		values.Set("after", q.After.Format(time.RFC3339Nano))
	}
	if len(q.Meta) > 0 {
		// A map of strings always has a JSON form.
		pairs, _ := json.Marshal(q.Meta)
		values.Set("meta", string(pairs))
	}
	return values
}
