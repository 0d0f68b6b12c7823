package pinsvc

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
)

// Page is the answer to a list request: a PinResults as a backend hands it
// over. Its JSON form is that of PinResults.
type Page struct {
	// Count is the number of pins that match every filter, Before and After
	// included.
	Count int
	Rows  []Row
}

// Row is one PinStatus of a page. A page may have a thousand, so that what
// would cost an allocation for each is there in the form in which it is kept,
// and what many rows share is written once for all of them.
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

// RawJSON is a JSON value that was written before. The zero value is none.
type RawJSON string

// RawStrings writes a list.
func RawStrings(list []string) RawJSON { return RawJSON(appendStrings(nil, list)) }

// RawOrigins writes a list; nothing when there are no origins.
func RawOrigins(origins []multiaddr.Multiaddr) RawJSON {
	if len(origins) == 0 {
		return ""
	}
	return RawJSON(appendOrigins(nil, origins))
}

// RawPairs writes an object; nothing when there are no pairs.
func RawPairs(pairs map[string]string) RawJSON {
	if len(pairs) == 0 {
		return ""
	}
	return RawJSON(appendStringMap(nil, pairs))
}

// RowOf makes a row of a PinStatus whose request ID is a CID.
func RowOf(ps PinStatus) (Row, error) {
	key, ok := ParseRequestID(ps.RequestID)
	if !ok {
		return Row{}, fmt.Errorf("request ID %s is no CID", quote(ps.RequestID))
	}
	return Row{
		Key: key.KeyString(), CID: ps.Pin.CID.KeyString(), Status: ps.Status, Created: ps.Created.UnixMilli(),
		Name: ps.Pin.Name, Meta: PackPairs(ps.Pin.Meta), Origins: RawOrigins(ps.Pin.Origins),
		Delegates: RawStrings(ps.Delegates), Info: RawPairs(ps.Info),
	}, nil
}

// PinStatus is the row as the object that it stands for.
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

// PinResults is the page as the object that it stands for.
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

// AppendJSON appends the JSON form to dst; see PinResults.AppendJSON.
func (p Page) AppendJSON(dst []byte) ([]byte, error) {
	return appendResults(dst, p.Count, len(p.Rows), func(i int, dst []byte) ([]byte, error) {
		return p.Rows[i].AppendJSON(dst)
	})
}

// appendResults appends the object around n results.
func appendResults(dst []byte, count, n int, appendOne func(i int, dst []byte) ([]byte, error)) ([]byte, error) {
	dst = append(dst, `{"count":`...)
	dst = appendInt(dst, count)
	dst = append(dst, `,"results":[`...)
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		before := len(dst)
		var err error
		if dst, err = appendOne(i, dst); err != nil {
			return dst, fmt.Errorf("result %d: %w", i, err)
		}
		if i == 0 {
			// The others will be of about the same size.
			dst = slices.Grow(dst, (len(dst)-before+32)*n)
		}
	}
	return append(dst, "]}"...), nil
}

// AppendJSON appends the JSON form to dst: that of the PinStatus.
func (r *Row) AppendJSON(dst []byte) ([]byte, error) {
	if r.Key == "" || r.CID == "" {
		return dst, errUndefinedCID
	}
	dst = append(dst, `{"requestid":"`...)
	from := len(dst)
	dst = appendCID(dst, r.Key)
	to := len(dst)
	dst = append(dst, '"')
	dst, err := appendState(dst, r.Status, time.UnixMilli(r.Created))
	if err != nil {
		return dst, err
	}
	dst = append(dst, `,"pin":{"cid":"`...)
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
