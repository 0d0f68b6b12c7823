package pinsvc

import (
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// hashed is a CIDv1 of raw leaves with a digest of n bytes.
func hashed(code uint64, n int) cid.Cid {
	hash, err := multihash.Encode(make([]byte, n), code)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, hash)
}

// Each of these was tried on Kubo 0.43: it refuses exactly what is refused here,
// before it looks for the content.
func TestCheckPinnable(t *testing.T) {
	for want, cids := range map[string][]cid.Cid{
		"": {
			cid.MustParse(textV0), cid.MustParse(textV1), hashed(multihash.SHA2_256, 20), hashed(multihash.SHA1, 20),
			hashed(multihash.BLAKE3, 128), hashed(multihash.IDENTITY, 0), hashed(multihash.IDENTITY, 128),
			cid.NewCidV1(0x90, cid.MustParse(textV0).Hash()), // Kubo has no decoder; a plugin may.
		},
		"ipfs name resolve":    {cid.NewCidV1(cid.Libp2pKey, identity(36)), cid.NewCidV1(cid.Libp2pKey, cid.MustParse(textV0).Hash())},
		"murmur3-x64-64":       {hashed(multihash.MURMUR3X64_64, 8)},
		"md5":                  {hashed(multihash.MD5, 16)},
		"0x300001":             {hashed(0x300001, 32)},
		"16 bytes of sha2-256": {hashed(multihash.SHA2_256, 16)},
		"maximum 128":          {hashed(multihash.IDENTITY, 129), hashed(multihash.SHA2_256, 129)},
	} {
		for _, c := range cids {
			err := CheckPinnable(c)
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", c, err, want)
			}
		}
	}
}

// What can never be pinned is refused in bodies, and is no fault in filters and
// request IDs.
func TestDecodePin_RefusesWhatIsNotPinnable(t *testing.T) {
	key := cid.NewCidV1(cid.Libp2pKey, identity(36))
	base36, err := key.StringOfBase('k')
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{key.String(), base36, hashed(multihash.MD5, 16).String(), hashed(multihash.SHA2_256, 16).String()} {
		_, _, err := DecodePin(strings.NewReader(`{"cid":"` + text + `"}`))
		if err == nil {
			t.Errorf("%s is taken", text)
			continue
		}
		checkRefusal(t, text, "cid: ", err)
		if _, err := ParseRawQuery("cid=" + text); err != nil {
			t.Errorf("a filter: %v", err)
		}
		if _, ok := ParseRequestID(text); !ok {
			t.Errorf("%s is no request ID", text)
		}
	}
}
