package pinsvc

import (
	"encoding/base32"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/mr-tron/base58"
)

// The functions of this file append JSON by hand: see Row for the reason.

// appendTime appends the one form in which the service writes times: UTC with
// exactly three digits of a second's fraction (D2), the rest cut off. It fails
// for years that RFC 3339 cannot write. time.AppendFormat would make a page take
// 1.3 to 1.5 times as long.
func appendTime(dst []byte, t time.Time) ([]byte, error) {
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

// base32Lower is multibase "b", the text form of every CIDv1.
var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// appendCID appends the text of the CID with that binary form, as its String
// does, without the allocations.
func appendCID(dst []byte, key string) []byte {
	if isV0(key) {
		return append(dst, base58.Encode([]byte(key))...)
	}
	var buf [64]byte
	return base32Lower.AppendEncode(append(dst, 'b'), append(buf[:0], key...))
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
	for i := 0; i < len(s); {
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
