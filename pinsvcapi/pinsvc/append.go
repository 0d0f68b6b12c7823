package pinsvc

import (
	"encoding/base32"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendTime appends the one form in which the service writes times: UTC with
// exactly three digits of a second's fraction (D2), the rest cut off. It fails
// for years that RFC 3339 cannot write.
func AppendTime(dst []byte, t time.Time) ([]byte, error) {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return dst, fmt.Errorf("year %d has no form in RFC 3339", year)
	}
	hour, minute, second := t.Clock()
	dst = appendTwo(appendTwo(dst, year/100), year%100)
	dst = appendTwo(append(dst, '-'), int(month))
	dst = appendTwo(append(dst, '-'), day)
	dst = appendTwo(append(dst, 'T'), hour)
	dst = appendTwo(append(dst, ':'), minute)
	dst = appendTwo(append(dst, ':'), second)
	milli := t.Nanosecond() / int(time.Millisecond)
	dst = append(dst, '.', byte('0'+milli/100))
	return append(appendTwo(dst, milli%100), 'Z'), nil
}

// appendTwo appends two decimal digits; n is 0 to 99.
func appendTwo(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}

func appendInt(dst []byte, n int) []byte { return strconv.AppendInt(dst, int64(n), 10) }

// base32Lower is multibase "b", the text form of every CIDv1.
var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// appendCID appends the text of the CID with that binary form, as its String
// does, without the allocations.
func appendCID(dst []byte, key string) []byte {
	if isV0(key) {
		return appendBase58(dst, key)
	}
	var buf [64]byte
	return base32Lower.AppendEncode(append(dst, 'b'), append(buf[:0], key...))
}

const base58Alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// appendBase58 appends the text of a CIDv0. Its 34 bytes are one large number,
// which is divided by 58^5 until nothing is left; the first byte is not zero,
// so there are no leading zeros to mind and always 46 digits. It is several
// times as fast as the general function, and half the pins of the world have
// such CIDs.
func appendBase58(dst []byte, hash string) []byte {
	const (
		group  = 5
		base   = 58 * 58 * 58 * 58 * 58
		digits = 46
	)
	var limbs [9]uint32 // big endian; 34 bytes are 2 and 8 times 4
	for i := range len(hash) {
		at := i + 4*len(limbs) - len(hash)
		limbs[at/4] = limbs[at/4]<<8 | uint32(hash[i])
	}
	var text [group * 10]byte
	first := 0
	for end := len(text); end > 0; end -= group {
		var remainder uint64
		for i := first; i < len(limbs); i++ {
			n := remainder<<32 | uint64(limbs[i])
			limbs[i] = uint32(n / base)
			remainder = n % base
		}
		if first < len(limbs) && limbs[first] == 0 {
			first++
		}
		for i := end - 1; i >= end-group; i-- {
			text[i] = base58Alphabet[remainder%58]
			remainder /= 58
		}
	}
	return append(dst, text[len(text)-digits:]...)
}

// appendStrings appends a JSON list.
func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

// appendStringMap appends a JSON object, sorted by key as encoding/json does.
func appendStringMap(dst []byte, pairs map[string]string) []byte {
	var buf [16]string
	keys := buf[:0]
	for key := range pairs {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	dst = append(dst, '{')
	for i, key := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, key)
		dst = append(dst, ':')
		dst = appendString(dst, pairs[key])
	}
	return append(dst, '}')
}

const hexDigits = "0123456789abcdef"

// appendString appends a JSON string, byte for byte as encoding/json does
// when it does not escape HTML.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := plainPrefix(s); i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = appendEscape(append(dst, s[start:i]...), c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(append(dst, s[start:i]...), `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			dst = append(append(dst, s[start:i]...), `\u202`...)
			dst = append(dst, hexDigits[r&0xf])
			start = i + size
		}
		i += size
	}
	return append(append(dst, s[start:]...), '"')
}

// plainPrefix is the length of a prefix of s, a multiple of eight bytes long,
// that needs no escape: printable ASCII without quotes and backslashes. Almost
// all strings are such to their last few bytes, and eight bytes are looked at
// in the time of one.
func plainPrefix(s string) int {
	const (
		each = 0x0101010101010101
		high = 0x8080808080808080
	)
	// zero is true of a word with a byte that is zero; with bytes above
	// 0x7f, which are excluded as well, it may be true too often.
	zero := func(w uint64) uint64 { return (w - each) & ^w }
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		control := w - ' '*each
		if (w|control|zero(w^'"'*each)|zero(w^'\\'*each))&high != 0 {
			break
		}
	}
	return i
}

// appendEscape appends the escape of a quote, a backslash or a control
// character.
func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	default:
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
	}
}
