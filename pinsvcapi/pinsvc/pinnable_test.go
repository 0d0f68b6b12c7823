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

// hashedAs is a CIDv1 with that codec and a SHA-256 digest.
func hashedAs(codec uint64) cid.Cid { return cid.NewCidV1(codec, cid.MustParse(textV0).Hash()) }

// embedded is an identity CID with that content.
func embedded(codec uint64, content string) cid.Cid {
	hash, err := multihash.Encode([]byte(content), multihash.IDENTITY)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(codec, hash)
}

// cborLink is a dag-cbor link, dagPBLink a dag-pb node with one link.
func cborLink(c cid.Cid) string {
	link := "\x00" + string(c.Bytes())
	if len(link) < 24 {
		return "\xd8\x2a" + string([]byte{0x40 + byte(len(link))}) + link
	}
	return "\xd8\x2a\x58" + string([]byte{byte(len(link))}) + link
}

func dagPBLink(c cid.Cid) string {
	hash := "\x0a" + string([]byte{byte(c.ByteLen())}) + string(c.Bytes())
	return "\x12" + string([]byte{byte(len(hash))}) + hash
}

// Each of these was tried on Kubo 0.43: it refuses exactly what is refused here,
// before it looks for the content.
func TestCheckPinnable(t *testing.T) {
	for want, cids := range map[string][]cid.Cid{
		"": {
			cid.MustParse(textV0), cid.MustParse(textV1), hashed(multihash.SHA2_256, 20), hashed(multihash.SHA1, 20),
			hashed(multihash.BLAKE3, 128), hashed(multihash.IDENTITY, 0), hashed(multihash.IDENTITY, 128),
			hashedAs(cid.DagCBOR), hashedAs(cid.DagJSON), hashedAs(0x51), hashedAs(0x200), // cbor, json
			hashedAs(cid.GitRaw), hashedAs(cid.DagJOSE), hashedAs(0x300078), // Of plug-ins of the release.
			embedded(cid.DagProtobuf, ""), embedded(cid.DagProtobuf, "\x0a\x04\x08\x02\x18\x00"), embedded(cid.Raw, "hello"),
			embedded(cid.DagCBOR, "\xa0"), embedded(0x51, "\xf6"), embedded(cid.DagJSON, `{"b":1,"a":2}`), embedded(0x200, "null"),
			embedded(cid.DagCBOR, cborLink(embedded(cid.Raw, "hi"))), embedded(cid.DagProtobuf, dagPBLink(embedded(cid.Raw, "hi"))),
		},
		"the codec eth-block (0x90)":     {hashedAs(cid.EthBlock), embedded(cid.EthBlock, "x")},
		"the codec bitcoin-block (0xb0)": {hashedAs(cid.BitcoinBlock)},
		"the codec protobuf (0x50)":      {hashedAs(0x50)},
		"the codec identity (0x0)":       {hashedAs(0)},
		"the codec 0x3ffffe":             {hashedAs(0x3ffffe)},
		"not valid dag-pb (0x70)":        {embedded(cid.DagProtobuf, "hello"), embedded(cid.DagProtobuf, "\x08\x01")},
		"not valid dag-cbor (0x71)":      {embedded(cid.DagCBOR, ""), embedded(cid.DagCBOR, "hello"), embedded(cid.DagCBOR, "\xa0\xa0")},
		"not valid cbor (0x51)":          {embedded(0x51, "hello")},
		"not valid dag-json (0x129)":     {embedded(cid.DagJSON, ""), embedded(cid.DagJSON, "hello"), embedded(cid.DagJSON, `{"/":"x"}`)},
		"not valid json (0x200)":         {embedded(0x200, "{}x")},
		"links to what cannot be pinned": {
			embedded(cid.DagCBOR, cborLink(embedded(cid.Libp2pKey, "hi"))), embedded(cid.DagProtobuf, dagPBLink(hashedAs(cid.EthBlock))),
			embedded(cid.DagJSON, `{"/":"`+embedded(cid.DagProtobuf, "hello").String()+`"}`),
			embedded(cid.DagProtobuf, dagPBLink(embedded(cid.DagCBOR, cborLink(embedded(cid.DagProtobuf, "x"))))),
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
func TestDecoder_RefusesWhatIsNotPinnable(t *testing.T) {
	key := cid.NewCidV1(cid.Libp2pKey, identity(36))
	base36, err := key.StringOfBase('k')
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{key.String(), base36, hashed(multihash.MD5, 16).String(), hashed(multihash.SHA2_256, 16).String(),
		hashedAs(cid.BitcoinBlock).String(), embedded(cid.DagCBOR, "hello").String()} {
		_, _, err := new(Decoder).Decode([]byte(`{"cid":"` + text + `"}`))
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

// Content of others is decoded before anything else is known about it.
func FuzzCheckPinnable(f *testing.F) {
	f.Add(uint64(cid.DagProtobuf), []byte(dagPBLink(embedded(cid.DagCBOR, cborLink(embedded(cid.Raw, "x"))))))
	f.Add(uint64(cid.DagCBOR), []byte("\x9b\x7f\xff\xff\xff\xff\xff\xff\xff"))
	f.Add(uint64(cid.DagJSON), []byte(`{"/":{"bytes":"AQ"}}`))
	f.Add(uint64(0x51), []byte(strings.Repeat("\x81", 128)))
	f.Add(uint64(0x200), []byte(strings.Repeat("[", 128)))
	f.Fuzz(func(t *testing.T, codec uint64, content []byte) {
		codec &= 1<<63 - 1
		if err := CheckPinnable(embedded(codec, string(content))); err != nil && len(err.Error()) > 4096 {
			t.Fatalf("%d bytes of %q", len(err.Error()), err.Error()[:200])
		}
	})
}
