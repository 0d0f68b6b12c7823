package pinset

import (
	"encoding/binary"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// row is the compact form of a Pin: 48 bytes and one string. It is packed by
// hand because a struct with a map and two strings takes three times the memory
// and scans several times as long.
//
// The string is the CID, the name and the sorted metadata, each with its length
// before it, and the expiry, when there is one, as the last four bytes. So the
// garbage collector follows one pointer a pin.
type row struct {
	data      string
	created   int64  // Unix milliseconds
	next      uint32 // the next row with the same identity, or free slot
	placement uint32
	vector    uint32
	origins   uint32
	written   uint32
	status    pinsvc.Status // zero: the slot is free
	flags     uint8
	revision  uint16
}

const (
	flagOtherForm = 1 << iota
	flagStamped
	flagDirect
	// flagExpires is set if data ends with the expiry: few pins have one.
	flagExpires
	flagRevised
	flagSharded
)

// expiryBytes is the length of an expiry in data.
const expiryBytes = 4

// pack sets all fields of r from p except next.
func (r *row) pack(p Pin) {
	r.data = packData(p)
	r.created = p.Created.UnixMilli()
	r.placement, r.vector, r.origins = p.Placement, p.Vector, p.Origins
	r.written, r.revision = p.Written, p.Revision
	r.status = p.Status
	r.flags = 0
	r.setFlag(flagOtherForm, p.OtherFormRequested)
	r.setFlag(flagStamped, p.Stamped)
	r.setFlag(flagDirect, p.Direct)
	r.setFlag(flagExpires, p.ExpiresAt != 0)
	r.setFlag(flagRevised, p.Revised)
	r.setFlag(flagSharded, p.Sharded)
}

func (r *row) has(flag uint8) bool { return r.flags&flag != 0 }

func (r *row) setFlag(flag uint8, on bool) {
	r.flags &^= flag
	if on {
		r.flags |= flag
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

// cidKey returns the binary form of the CID.
func (r *row) cidKey() string {
	key, _ := pinsvc.CutField(r.data)
	return key
}

func (r *row) name() string {
	_, rest := pinsvc.CutField(r.data)
	name, _ := pinsvc.CutField(rest)
	return name
}

// fields returns everything that data holds.
func (r *row) fields() (key, name, meta string, expiresAt uint32) {
	key, rest := pinsvc.CutField(r.data)
	name, meta = pinsvc.CutField(rest)
	if r.has(flagExpires) {
		end := len(meta) - expiryBytes
		expiresAt = binary.BigEndian.Uint32([]byte(meta[end:]))
		meta = meta[:end]
	}
	return key, name, meta, expiresAt
}

// entry returns the pin. Its strings share memory with the row, which never
// changes them in place.
func (r *row) entry() Entry {
	key, name, meta, expiresAt := r.fields()
	return Entry{
		Key:                key,
		OtherFormRequested: r.has(flagOtherForm),
		Name:               name,
		Meta:               pinsvc.PackedPairs(meta),
		Created:            r.created,
		Status:             r.status,
		Stamped:            r.has(flagStamped),
		Direct:             r.has(flagDirect),
		Revised:            r.has(flagRevised),
		Revision:           r.revision,
		Sharded:            r.has(flagSharded),
		Written:            r.written,
		ExpiresAt:          expiresAt,
		Placement:          r.placement,
		Vector:             r.vector,
		Origins:            r.origins,
	}
}

// Pin returns the entry as a Pin. It fails only for a key that is no CID.
func (e Entry) Pin() (Pin, error) {
	c, err := cid.Cast([]byte(e.Key))
	if err != nil {
		return Pin{}, err
	}
	return Pin{
		CID:                c,
		OtherFormRequested: e.OtherFormRequested,
		Name:               e.Name,
		Meta:               e.Meta.Map(),
		Created:            time.UnixMilli(e.Created).UTC(),
		Status:             e.Status,
		Stamped:            e.Stamped,
		Direct:             e.Direct,
		Revised:            e.Revised,
		Revision:           e.Revision,
		Sharded:            e.Sharded,
		Written:            e.Written,
		ExpiresAt:          e.ExpiresAt,
		Placement:          e.Placement,
		Vector:             e.Vector,
		Origins:            e.Origins,
	}, nil
}
