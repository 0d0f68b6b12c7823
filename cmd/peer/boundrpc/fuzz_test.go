package boundrpc

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// text is a string as it is sent.
func packed(s string) string {
	return string([]byte{0xdb, byte(len(s) >> 24), byte(len(s) >> 16), byte(len(s) >> 8), byte(len(s))}) + s
}

// call of a method, without its arguments.
func packedName(service, method string) string {
	return "\x82" + packed("Name") + packed(service) + packed("Method") + packed(method)
}

// FuzzScanner scans what any peer of the cluster may send: it ends, and nothing beyond the limits may be decoded,
// in whatever pieces it comes.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		packedName("Pinset", "Rows") + "\x93\x01\xcd\x01\x02\xce\x00\x00\x01\x02",
		packedName("Writes", "Waits") + packed("nonce") + "after that",
		"\x80\xc0", "\x91\x81\xa1x\xc6\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff\x80\x80", strings.Repeat("\x91", 100),
		"\x80\xdf\x80\x00\x00\x01", "\xc1", "\x80\xc7\x05\x01hello", "\x80\xd4\x01x\xca\x00\x00\x00\x00", "\x80\x92\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xd3",
	} {
		f.Add([]byte(seed), byte(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, piece byte) {
		limits := []Limits{{Bytes: 100, Field: 50, Values: 10}, {Bytes: 1000, Field: 100, Values: 100}}
		whole := newScanner(limits...)
		n, err := whole.take(data)
		if n > len(data) || (err == nil) != (n == len(data)) || n > 1100 {
			t.Fatalf("%d of %d bytes, %v", n, len(data), err)
		}
		if len(whole.open) > maxDepth || errors.Is(err, io.EOF) != (whole.complete() && err != nil) {
			t.Fatalf("%+v, %v", whole, err)
		}
		parts := newScanner(limits...)
		all := 0
		for rest := data; len(rest) > 0; {
			size := min(int(piece%7)+1, len(rest))
			got, bad := parts.take(rest[:size])
			if all += got; bad != nil {
				if err == nil || bad.Error() != err.Error() {
					t.Fatalf("in pieces %v, at once %v", bad, err)
				}
				break
			}
			rest = rest[size:]
		}
		if all > n || err == nil && all != n {
			t.Fatalf("in pieces %d bytes, at once %d", all, n)
		}
	})
}
