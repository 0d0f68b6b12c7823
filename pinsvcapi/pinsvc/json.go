package pinsvc

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/multiformats/go-multiaddr"
)

// Optional fields that are empty are left out, never null; arrays are never
// null. The order of the fields is that of the specification. PinResults and
// PinStatus are written as a Page and a Row: see row.go.

// errUndefinedCID is a fault of the backend, not of a client.
var errUndefinedCID = errors.New("a pin without a CID has no wire form")

// AppendJSON appends the JSON form to dst. It fails only for values that break
// the contract: no CID, no status, a request ID that is no CID, a year beyond
// 9999.
func (ps *PinStatus) AppendJSON(dst []byte) ([]byte, error) {
	row, err := RowOf(*ps)
	if err != nil {
		return dst, err
	}
	if dst, err = row.AppendJSON(dst); err != nil {
		return dst, fmt.Errorf("%s: %w", ps.RequestID, err)
	}
	return dst, nil
}

// AppendJSON appends the JSON form to dst; see PinStatus.AppendJSON.
func (p *Pin) AppendJSON(dst []byte) ([]byte, error) {
	if !p.CID.Defined() {
		return dst, errUndefinedCID
	}
	dst = append(dst, `{"cid":"`...)
	dst = appendCID(dst, p.CID.KeyString())
	dst = append(dst, '"')
	dst = appendName(dst, p.Name)
	if len(p.Origins) > 0 {
		dst = append(dst, `,"origins":`...)
		dst = appendOrigins(dst, p.Origins)
	}
	if len(p.Meta) > 0 {
		dst = append(dst, `,"meta":`...)
		dst = appendStringMap(dst, p.Meta)
	}
	return append(dst, '}'), nil
}

// appendName appends the member name, unless it is empty.
func appendName(dst []byte, name string) []byte {
	if name == "" {
		return dst
	}
	dst = append(dst, `,"name":`...)
	return appendString(dst, name)
}

// appendOrigins appends a JSON list.
func appendOrigins(dst []byte, origins []multiaddr.Multiaddr) []byte {
	dst = append(dst, '[')
	for i, origin := range origins {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, origin.String())
	}
	return append(dst, ']')
}

// AppendJSON appends the JSON form to dst.
func (f Failure) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"error":{"reason":`...)
	dst = appendString(dst, f.Reason)
	if f.Details != "" {
		dst = append(dst, `,"details":`...)
		dst = appendString(dst, f.Details)
	}
	return append(dst, "}}"...)
}

// MarshalJSON writes what Page.AppendJSON writes.
func (r PinResults) MarshalJSON() ([]byte, error) {
	page, err := r.Page()
	if err != nil {
		return nil, err
	}
	return page.AppendJSON(nil)
}

// MarshalJSON is AppendJSON for encoding/json.
func (ps PinStatus) MarshalJSON() ([]byte, error) { return ps.AppendJSON(nil) }

// MarshalJSON is AppendJSON for encoding/json.
func (p Pin) MarshalJSON() ([]byte, error) { return p.AppendJSON(nil) }

// MarshalJSON is AppendJSON for encoding/json.
func (f Failure) MarshalJSON() ([]byte, error) { return f.AppendJSON(nil), nil }

// UnmarshalJSON reads what MarshalJSON writes, and what other services write.
// It checks types, not the limits of requests: see Decoder for those.
func (p *Pin) UnmarshalJSON(data []byte) error {
	pin, _, err := decodePin(data)
	if err != nil {
		return err
	}
	*p = pin
	return nil
}

// UnmarshalJSON reads what MarshalJSON writes, and what other services write.
func (ps *PinStatus) UnmarshalJSON(data []byte) error {
	var wire struct {
		RequestID string            `json:"requestid"`
		Status    Status            `json:"status"`
		Created   time.Time         `json:"created"`
		Pin       *Pin              `json:"pin"`
		Delegates []string          `json:"delegates"`
		Info      map[string]string `json:"info"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	if wire.RequestID == "" || wire.Status == 0 || wire.Created.IsZero() || wire.Pin == nil {
		return errors.New("a pin status needs requestid, status, created and pin")
	}
	*ps = PinStatus{
		RequestID: wire.RequestID,
		Status:    wire.Status,
		Created:   wire.Created.UTC(),
		Pin:       *wire.Pin,
	}
	if len(wire.Delegates) > 0 {
		ps.Delegates = wire.Delegates
	}
	if len(wire.Info) > 0 {
		ps.Info = wire.Info
	}
	return nil
}

// UnmarshalJSON reads what MarshalJSON writes, and what other services write.
// Results is not nil afterwards.
func (r *PinResults) UnmarshalJSON(data []byte) error {
	var wire struct {
		Count   *int        `json:"count"`
		Results []PinStatus `json:"results"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	if wire.Count == nil || *wire.Count < 0 {
		return errors.New("pin results need a count")
	}
	if wire.Results == nil {
		wire.Results = []PinStatus{}
	}
	*r = PinResults{Count: *wire.Count, Results: wire.Results}
	return nil
}

// UnmarshalJSON reads what MarshalJSON writes, and what other services write.
func (f *Failure) UnmarshalJSON(data []byte) error {
	var wire struct {
		Error struct {
			Reason  string `json:"reason"`
			Details string `json:"details"`
		} `json:"error"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	if wire.Error.Reason == "" {
		return errors.New("a failure needs error.reason")
	}
	*f = Failure{Reason: wire.Error.Reason, Details: wire.Error.Details}
	return nil
}
