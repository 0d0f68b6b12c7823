package pinset

import (
	"encoding/binary"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// record is the compact form of a Pin: 48 bytes and one string. The string is
// the CID, the name and the sorted metadata, each with its length before it,
// and the few bytes of the expiry when there is one. So the collector sees one
// pointer a pin and a scan reads one run of memory.
type record struct {
	data      string
	created   int64 // Unix milliseconds
	next      uint32
	placement uint32
	reports   uint32
	origins   uint32
	written   uint32
	status    pinsvc.Status // zero: the slot is free
	flags     uint8
}

const (
	flagOtherForm = 1 << iota
	flagStamped
	flagDirect
	// flagExpires says that data ends with the expiry: few pins have one.
	flagExpires
)

// expiryBytes is the length of an expiry in data.
const expiryBytes = 4

// pack fills r from p, all but its link to the next record.
func (r *record) pack(p Pin) {
	r.data = packData(p)
	r.created = p.Created.UnixMilli()
	r.placement, r.reports, r.origins = p.Placement, p.Vector, p.Origins
	r.written = p.Written
	r.status = p.Status
	r.flags = 0
	if p.AskedOtherForm {
		r.flags |= flagOtherForm
	}
	if p.ExpiresAt != 0 {
		r.flags |= flagExpires
	}
	if p.Direct {
		r.flags |= flagDirect
	}
	if p.Stamped {
		r.flags |= flagStamped
	}
}

func packData(p Pin) string {
	key := p.CID.KeyString()
	size := len(key) + len(p.Name) + 4 + expiryBytes
	for k, v := range p.Meta {
		size += len(k) + len(v) + 4
	}
	buf := make([]byte, 0, size)
	buf = pinsvc.AppendField(buf, key)
	buf = pinsvc.AppendField(buf, p.Name)
	buf = pinsvc.AppendPairs(buf, p.Meta)
	if p.ExpiresAt != 0 {
		buf = binary.BigEndian.AppendUint32(buf, p.ExpiresAt)
	}
	return string(buf)
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

// fields are all that data holds.
func (r *record) fields() (key, name, meta string, expiresAt uint32) {
	key, rest := pinsvc.CutField(r.data)
	name, meta = pinsvc.CutField(rest)
	if r.flags&flagExpires != 0 {
		cut := len(meta) - expiryBytes
		expiresAt = binary.BigEndian.Uint32([]byte(meta[cut:]))
		meta = meta[:cut]
	}
	return key, name, meta, expiresAt
}

// pair is one wanted pair of metadata.
type pair struct{ key, value string }

// matchesMeta reports whether the pin has every wanted pair. Few pairs are
// wanted and few are there: comparing is faster than hashing.
func (r *record) matchesMeta(want []pair) bool {
	_, _, rest, _ := r.fields()
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
	key, name, meta, expiresAt := r.fields()
	return Entry{
		Key:            key,
		AskedOtherForm: r.flags&flagOtherForm != 0,
		Name:           name,
		Meta:           pinsvc.PackedPairs(meta),
		Created:        r.created,
		Status:         r.status,
		Stamped:        r.flags&flagStamped != 0,
		Direct:         r.flags&flagDirect != 0,
		Written:        r.written,
		Placement:      r.placement,
		Vector:         r.reports,
		Origins:        r.origins,
		ExpiresAt:      expiresAt,
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
		Stamped:        e.Stamped,
		Direct:         e.Direct,
		Written:        e.Written,
		Placement:      e.Placement,
		Vector:         e.Vector,
		Origins:        e.Origins,
		ExpiresAt:      e.ExpiresAt,
	}, nil
}
