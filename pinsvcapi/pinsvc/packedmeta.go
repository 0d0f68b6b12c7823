package pinsvc

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"
)

// Pairs are string pairs in one piece of memory, sorted by key: each key and
// each value with its length before it, as a uvarint. The zero value has none.
// They are packed by hand because a map for each of a million pins takes several
// times the memory, and a page is written from them without a map.
type Pairs struct{ packed string }

// packPairs packs a map.
func packPairs(pairs map[string]string) Pairs {
	if len(pairs) == 0 {
		return Pairs{}
	}
	return Pairs{string(AppendPairs(nil, pairs))}
}

// PackedPairs returns pairs in the form of AppendPairs, sharing its memory.
func PackedPairs(packed string) Pairs { return Pairs{packed} }

// AppendPairs appends the packed form to dst.
func AppendPairs(dst []byte, pairs map[string]string) []byte {
	if len(pairs) == 0 {
		return dst
	}
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		dst = AppendField(dst, key)
		dst = AppendField(dst, pairs[key])
	}
	return dst
}

// All ranges over the pairs in the order of their keys.
func (p Pairs) All() iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		for rest := p.packed; rest != ""; {
			var key, value string
			key, rest = CutField(rest)
			value, rest = CutField(rest)
			if !yield(key, value) {
				return
			}
		}
	}
}

// Map unpacks the pairs; nil when there are none.
func (p Pairs) Map() map[string]string {
	if p.packed == "" {
		return nil
	}
	return maps.Collect(p.All())
}

// appendJSON appends a JSON object.
func (p Pairs) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	for rest := p.packed; rest != ""; {
		var key, value string
		key, rest = CutField(rest)
		value, rest = CutField(rest)
		dst = appendString(dst, key)
		dst = append(dst, ':')
		dst = appendString(dst, value)
		if rest != "" {
			dst = append(dst, ',')
		}
	}
	return append(dst, '}')
}

// AppendField appends a string with its length before it.
func AppendField(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// CutField returns the string that AppendField appended first and what follows
// it, sharing the memory of data, which must be whole.
func CutField(data string) (field, rest string) {
	// The usual length has one byte.
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
