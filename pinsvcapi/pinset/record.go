package pinset

import (
	"encoding/binary"
	"maps"
	"slices"
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
	r.placement, r.reports = p.Placement, p.Reports
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
	buf = appendField(buf, key)
	buf = appendField(buf, p.Name)
	if len(p.Meta) > 0 {
		for _, k := range slices.Sorted(maps.Keys(p.Meta)) {
			buf = appendField(buf, k)
			buf = appendField(buf, p.Meta[k])
		}
	}
	return string(buf)
}

func appendField(buf []byte, s string) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(s)))
	return append(buf, s...)
}

// cutField returns the first field of data and what follows it. It shares the
// memory of data.
func cutField(data string) (field, rest string) {
	// The common length needs one byte.
	n, width := uint64(data[0]), 1
	if n >= 0x80 {
		n = 0
		for shift := 0; ; shift += 7 {
			b := data[width-1]
			n |= uint64(b&0x7f) << shift
			if b < 0x80 {
				break
			}
			width++
		}
	}
	end := width + int(n)
	return data[width:end], data[end:]
}

// cidKey returns the bytes of the CID.
func (r *record) cidKey() string {
	key, _ := cutField(r.data)
	return key
}

func (r *record) name() string {
	_, rest := cutField(r.data)
	name, _ := cutField(rest)
	return name
}

// pair is one wanted pair of metadata.
type pair struct{ key, value string }

// matchesMeta reports whether the pin has every wanted pair. Few pairs are
// wanted and few are there: comparing is faster than hashing.
func (r *record) matchesMeta(want []pair) bool {
	_, rest := cutField(r.data)
	_, rest = cutField(rest)
	found := 0
	for rest != "" && found < len(want) {
		var have pair
		have.key, rest = cutField(rest)
		have.value, rest = cutField(rest)
		for i := range want {
			if want[i] == have {
				found++
			}
		}
	}
	return found == len(want)
}

// unpack returns the Pin. Its strings share memory with the record, which
// never changes them in place.
func (r *record) unpack() (Pin, error) {
	key, rest := cutField(r.data)
	name, rest := cutField(rest)
	c, err := cid.Cast([]byte(key))
	if err != nil {
		return Pin{}, err
	}
	p := Pin{
		CID:            c,
		AskedOtherForm: r.flags&flagOtherForm != 0,
		Name:           name,
		Created:        time.UnixMilli(r.created).UTC(),
		Status:         r.status,
		Extra:          r.flags&flagExtra != 0,
		Stamped:        r.flags&flagStamped != 0,
		Written:        r.written,
		Placement:      r.placement,
		Reports:        r.reports,
	}
	for rest != "" {
		var k, v string
		k, rest = cutField(rest)
		v, rest = cutField(rest)
		if p.Meta == nil {
			p.Meta = make(map[string]string, 2)
		}
		p.Meta[k] = v
	}
	return p, nil
}
