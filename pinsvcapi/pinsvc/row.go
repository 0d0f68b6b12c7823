package pinsvc

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
)

// Page is one page of a list: a PinResults as a backend returns it. Its JSON
// form is that of PinResults.
type Page struct {
	// Count is the number of pins that pass every filter, Before and After
	// included.
	Count int
	Rows  []Row
}

// Row is one PinStatus of a page. Rows keep fields in their stored form to avoid
// an allocation for each; values shared by many rows are encoded once. Rows are
// rendered by hand because encoding/json takes several times as long
// (BenchmarkAppendJSON), and lists are most of the service's work.
type Row struct {
	// Key is the binary form of the CID whose text is the request ID.
	Key string
	// CID is the binary form of pin.cid; it mostly equals Key (D1).
	CID    string
	Status Status
	// Created is in Unix milliseconds.
	Created int64
	Name    string
	Meta    Pairs
	// Origins are a list of at most 20 multiaddresses, empty when there are
	// none.
	Origins RawJSON
	// Delegates are a list of strings.
	Delegates RawJSON
	// Info is an object of strings, empty when nothing is known.
	Info RawJSON
}

// RawJSON is a JSON value in its text form. The zero value is none.
type RawJSON string

// RawStrings returns a list.
func RawStrings(list []string) RawJSON { return RawJSON(appendStrings(nil, list)) }

// RawOrigins returns a list, or nothing when there are no origins.
func RawOrigins(origins []multiaddr.Multiaddr) RawJSON {
	if len(origins) == 0 {
		return ""
	}
	return RawJSON(appendOrigins(nil, origins))
}

// RawPairs returns an object, or nothing when there are no pairs.
func RawPairs(pairs map[string]string) RawJSON {
	if len(pairs) == 0 {
		return ""
	}
	return RawJSON(appendStringMap(nil, pairs))
}

// RowOf returns a PinStatus as a row. Its request ID must be a CID.
func RowOf(ps PinStatus) (Row, error) {
	key, ok := ParseRequestID(ps.RequestID)
	if !ok {
		return Row{}, fmt.Errorf("request ID %s is no CID", quote(ps.RequestID))
	}
	origins := ps.RawOrigins
	if origins == "" {
		origins = RawOrigins(ps.Pin.Origins)
	}
	return Row{
		Key: key.KeyString(), CID: ps.Pin.CID.KeyString(), Status: ps.Status, Created: ps.Created.UnixMilli(),
		Name: ps.Pin.Name, Meta: packPairs(ps.Pin.Meta), Origins: origins,
		Delegates: RawStrings(ps.Delegates), Info: RawPairs(ps.Info),
	}, nil
}

// PinStatus returns the row as a PinStatus.
func (r *Row) PinStatus() (PinStatus, error) {
	key, err := cid.Cast([]byte(r.Key))
	if err != nil {
		return PinStatus{}, fmt.Errorf("the key of a row: %w", err)
	}
	c, err := cid.Cast([]byte(r.CID))
	if err != nil {
		return PinStatus{}, fmt.Errorf("the CID of a row: %w", err)
	}
	ps := PinStatus{
		RequestID: key.String(), Status: r.Status, Created: time.UnixMilli(r.Created).UTC(),
		Pin: Pin{CID: c, Name: r.Name, Meta: r.Meta.Map()},
	}
	ps.Pin.Origins, err = r.Origins.multiaddrs()
	err = errors.Join(err, json.Unmarshal([]byte(r.Delegates), &ps.Delegates))
	if r.Info != "" {
		err = errors.Join(err, json.Unmarshal([]byte(r.Info), &ps.Info))
	}
	return ps, err
}

// multiaddrs reads what RawOrigins writes.
func (raw RawJSON) multiaddrs() ([]multiaddr.Multiaddr, error) {
	if raw == "" {
		return nil, nil
	}
	var texts []string
	if err := json.Unmarshal([]byte(raw), &texts); err != nil {
		return nil, fmt.Errorf("the origins of a row: %w", err)
	}
	addrs := make([]multiaddr.Multiaddr, len(texts))
	for i, text := range texts {
		var err error
		if addrs[i], err = multiaddr.NewMultiaddr(text); err != nil {
			return nil, fmt.Errorf("the origins of a row: %w", err)
		}
	}
	return addrs, nil
}

// Page returns the results as rows. Request IDs must be CIDs.
func (r PinResults) Page() (Page, error) {
	page := Page{Count: r.Count, Rows: make([]Row, len(r.Results))}
	for i, ps := range r.Results {
		var err error
		if page.Rows[i], err = RowOf(ps); err != nil {
			return Page{}, fmt.Errorf("result %d: %w", i, err)
		}
	}
	return page, nil
}

// PinResults returns the page as PinResults.
func (p Page) PinResults() (PinResults, error) {
	results := PinResults{Count: p.Count, Results: make([]PinStatus, len(p.Rows))}
	for i := range p.Rows {
		var err error
		if results.Results[i], err = p.Rows[i].PinStatus(); err != nil {
			return PinResults{}, err
		}
	}
	return results, nil
}

// AppendJSON appends the JSON form to dst: that of the PinStatus.
func (r *Row) AppendJSON(dst []byte) ([]byte, error) {
	if err := r.check(); err != nil {
		return dst, err
	}
	dst = append(dst, `{"requestid":"`...)
	from := len(dst)
	dst = appendCID(dst, r.Key)
	to := len(dst)
	dst = append(dst, `","status":"`...)
	dst = append(dst, r.Status.String()...)
	dst = append(dst, `","created":"`...)
	dst, err := appendTime(dst, time.UnixMilli(r.Created))
	if err != nil {
		return dst, err
	}
	dst = append(dst, `","pin":{"cid":"`...)
	if r.CID == r.Key {
		dst = append(dst, dst[from:to]...)
	} else {
		dst = appendCID(dst, r.CID)
	}
	dst = append(dst, '"')
	dst = appendName(dst, r.Name)
	if r.Origins != "" {
		dst = append(dst, `,"origins":`...)
		dst = append(dst, r.Origins...)
	}
	if r.Meta != (Pairs{}) {
		dst = append(dst, `,"meta":`...)
		dst = r.Meta.appendJSON(dst)
	}
	dst = append(dst, `},"delegates":`...)
	dst = append(dst, r.Delegates...)
	if r.Info != "" {
		dst = append(dst, `,"info":`...)
		dst = append(dst, r.Info...)
	}
	return append(dst, '}'), nil
}

// check returns the error of AppendJSON, but for that of the time.
func (r *Row) check() error {
	if r.Key == "" || r.CID == "" {
		return errUndefinedCID
	}
	if !AllStatuses.Has(r.Status) {
		return fmt.Errorf("status %d has no wire form", r.Status)
	}
	return nil
}
