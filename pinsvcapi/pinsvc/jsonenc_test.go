package pinsvc

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"pgregory.net/rapid"
)

// Every byte is escaped as encoding/json does, at every position of a string.
func TestAppendString_EscapesAtEveryPosition(t *testing.T) {
	for _, pair := range []string{"aa", "a\x1f", " !", "\u00e9", "\xff\x01"} {
		for b := range 256 {
			for at := range 20 {
				s := strings.Repeat("x", at) + string([]byte{byte(b)}) + pair + strings.Repeat("y", 9)
				var want bytes.Buffer
				enc := json.NewEncoder(&want)
				enc.SetEscapeHTML(false)
				if err := enc.Encode(s); err != nil {
					t.Fatal(err)
				}
				if got := string(appendString(nil, s)) + "\n"; got != want.String() {
					t.Fatalf("%q: got %s, want %s", s, got, want.String())
				}
			}
		}
	}
}

func TestAppendTime_HasMilliseconds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-62167219200, 253402300799).Draw(t, "seconds"), rapid.Int64Range(0, 1e9-1).Draw(t, "nanoseconds"))
		got, err := appendTime(nil, at)
		if want := at.UTC().Format("2006-01-02T15:04:05.000Z"); err != nil || string(got) != want {
			t.Fatalf("got %s, %v, want %s", got, err, want)
		}
	})
}

func TestAppendCID_IsString(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCID(t)
		if got := string(appendCID(nil, c.KeyString())); got != c.String() {
			t.Fatalf("got %s, want %s", got, c)
		}
	})
	for _, digest := range []byte{0, 255} {
		hash, err := multihash.Encode(slices.Repeat([]byte{digest}, 32), multihash.SHA2_256)
		if err != nil {
			t.Fatal(err)
		}
		if c := cid.NewCidV0(hash); string(appendCID(nil, c.KeyString())) != c.String() {
			t.Errorf("got %s, want %s", appendCID(nil, c.KeyString()), c)
		}
	}
}
