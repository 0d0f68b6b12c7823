package pinset

import (
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// record is the compact form of a Pin: 48 bytes and one string. The string is
// the CID, the name and the sorted metadata, each with its length before it,
// so that the collector sees one pointer a pin and a scan reads one run of
// memory.
type record struct {
	data      string
	created   int64 // Unix milliseconds
	next      uint32
	placement uint32
	reports   uint32
	written   uint32
	status    pinsvc.Status // zero: the slot is free
	flags     uint8
}

const (
	flagOtherForm = 1 << iota
	flagExtra
	flagStamped
)

// pack fills r from p, all but its link to the next record.
func (r *record) pack(p Pin) {
	r.data = packData(p)
	r.created = p.Created.UnixMilli()
	r.placement, r.reports = p.Placement, p.Vector
	r.written = p.Written
	r.status = p.Status
	r.flags = 0
	if p.AskedOtherForm {
		r.flags |= flagOtherForm
	}
	if p.Extra {
		r.flags |= flagExtra
	}
	if p.Stamped {
		r.flags |= flagStamped
	}
}

func packData(p Pin) string {
	key := p.CID.KeyString()
	size := len(key) + len(p.Name) + 4
	for k, v := range p.Meta {
		size += len(k) + len(v) + 4
	}
	buf := make([]byte, 0, size)
	buf = pinsvc.AppendField(buf, key)
	buf = pinsvc.AppendField(buf, p.Name)
	return string(pinsvc.AppendPairs(buf, p.Meta))
}

// cidKey returns the bytes of the CID.
func (r *record) cidKey() string {
	key, _ := pinsvc.CutField(r.data)
	return key
}

func (r *record) name() string {
	_, rest := pinsvc.CutField(r.data)
	name, _ := pinsvc.CutField(rest)
	return name
}

// pair is one wanted pair of metadata.
type pair struct{ key, value string }

// matchesMeta reports whether the pin has every wanted pair. Few pairs are
// wanted and few are there: comparing is faster than hashing.
func (r *record) matchesMeta(want []pair) bool {
	_, rest := pinsvc.CutField(r.data)
	_, rest = pinsvc.CutField(rest)
	found := 0
	for rest != "" && found < len(want) {
		var have pair
		have.key, rest = pinsvc.CutField(rest)
		have.value, rest = pinsvc.CutField(rest)
		for i := range want {
			if want[i] == have {
				found++
			}
		}
	}
	return found == len(want)
}

// entry returns the pin as it is kept. Its strings share memory with the
// record, which never changes them in place.
func (r *record) entry() Entry {
	key, rest := pinsvc.CutField(r.data)
	name, rest := pinsvc.CutField(rest)
	return Entry{
		Key:            key,
		AskedOtherForm: r.flags&flagOtherForm != 0,
		Name:           name,
		Meta:           pinsvc.PackedPairs(rest),
		Created:        r.created,
		Status:         r.status,
		Extra:          r.flags&flagExtra != 0,
		Stamped:        r.flags&flagStamped != 0,
		Written:        r.written,
		Placement:      r.placement,
		Vector:         r.reports,
	}
}

// unpack returns the Pin.
func (r *record) unpack() (Pin, error) { return r.entry().Pin() }

// Pin is the entry as a Pin.
func (e Entry) Pin() (Pin, error) {
	c, err := cid.Cast([]byte(e.Key))
	if err != nil {
		return Pin{}, err
	}
	return Pin{
		CID:            c,
		AskedOtherForm: e.AskedOtherForm,
		Name:           e.Name,
		Meta:           e.Meta.Map(),
		Created:        time.UnixMilli(e.Created).UTC(),
		Status:         e.Status,
		Extra:          e.Extra,
		Stamped:        e.Stamped,
		Written:        e.Written,
		Placement:      e.Placement,
		Vector:         e.Vector,
	}, nil
}
