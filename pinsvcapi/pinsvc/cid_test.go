package pinsvc

import (
	"fmt"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// identity is a multihash whose digest is n bytes of content.
func identity(n int) multihash.Multihash {
	hash, err := multihash.Encode(make([]byte, n), multihash.IDENTITY)
	if err != nil {
		panic(err)
	}
	return hash
}

func distinctCIDs(t testing.TB, n int) []string {
	t.Helper()
	var texts []string
	for i := range n {
		hash, err := multihash.Sum(fmt.Append(nil, i), multihash.SHA2_256, -1)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, cid.NewCidV1(cid.Raw, hash).String())
	}
	return texts
}

func TestSamePin_IsTrueOfTwoForms(t *testing.T) {
	v0 := cid.MustParse(textV0)
	v1 := cid.NewCidV1(cid.DagProtobuf, v0.Hash())
	sha512, err := multihash.Sum([]byte("x"), multihash.SHA2_512, -1)
	if err != nil {
		t.Fatal(err)
	}
	all := []cid.Cid{v0, v1, cid.NewCidV1(cid.Raw, v0.Hash()), cid.MustParse(textV1),
		cid.NewCidV1(cid.DagProtobuf, sha512), cid.NewCidV1(cid.DagProtobuf, identity(4)), cid.Undef}
	for i, a := range all {
		for j, b := range all {
			if got, want := SamePin(a, b), i == j || i+j == 1; got != want {
				t.Errorf("SamePin(%v, %v) is %v", a, b, got)
			}
			if got := PinKey(a) == PinKey(b); got != SamePin(a, b) {
				t.Errorf("PinKey of %v and %v: %v", a, b, got)
			}
		}
	}
	for i, c := range all {
		other, ok := OtherForm(c)
		if hasOther := i < 2 || i == 3; ok != hasOther || ok && (other == c || !SamePin(other, c)) {
			t.Errorf("OtherForm(%v) is %v, %v", c, other, ok)
		}
		if back, _ := OtherForm(other); ok && back != c {
			t.Errorf("the other form of %v is %v", other, back)
		}
	}
	if other, _ := OtherForm(v0); other != v1 {
		t.Errorf("the other form of %v is %v, want %v", v0, other, v1)
	}
}

func TestParseRequestID_ReadsCIDsAlone(t *testing.T) {
	for _, text := range append(distinctCIDs(t, 2), textV0, textV1) {
		if c, ok := ParseRequestID(text); !ok || c.String() != text {
			t.Errorf("%s was read as %v, %v", text, c, ok)
		}
	}
	for _, text := range []string{"", "x", "..", "0d3c8a4e-7c1f-4b8e-9d7e-1f7d1a5f3c11", "/ipfs/" + textV1, textV1 + "x", textV0[1:]} {
		if c, ok := ParseRequestID(text); ok {
			t.Errorf("%s was read as %v", text, c)
		}
	}
}
