package pinsvc

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ipfs/boxo/verifcid"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multicodec"
	"github.com/multiformats/go-multihash"

	dagpb "github.com/ipld/go-codec-dagpb"
	"github.com/ipld/go-ipld-prime/codec"
	"github.com/ipld/go-ipld-prime/codec/cbor"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	"github.com/ipld/go-ipld-prime/codec/json"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/ipld/go-ipld-prime/traversal"
)

// CheckPinnable returns an error for a CID that a released Kubo never pins, so
// that the request fails at once and not after the last attempt:
//
//   - keys (codec libp2p-key), which name no content,
//   - codecs without a decoder in Kubo: see unpinnableCodec,
//   - multihashes that Kubo refuses: it does not trust the hash function, or
//     the digest is too short or too long (boxo's package verifcid),
//   - identity CIDs whose content cannot be decoded, or links to a CID that
//     cannot be pinned.
func CheckPinnable(c cid.Cid) error {
	if reason := unpinnableCodec(c.Prefix().Codec); reason != "" {
		return fmt.Errorf("%s %s", quote(c.String()), reason)
	}
	if err := checkMultihash(c); err != nil {
		return err
	}
	return checkIdentity(c)
}

// checkMultihash refuses the multihashes that Kubo refuses.
func checkMultihash(c cid.Cid) error {
	prefix := c.Prefix()
	err := verifcid.ValidateCid(verifcid.DefaultAllowlist, c)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, verifcid.ErrPossiblyInsecureHashFunction):
		return fmt.Errorf("IPFS nodes refuse CIDs with the hash function %s, because it may be insecure", hashName(prefix.MhType))
	case errors.Is(err, verifcid.ErrDigestTooSmall):
		return fmt.Errorf("IPFS nodes refuse CIDs with a digest of %d bytes of %s: it is shorter than %d bytes",
			prefix.MhLength, hashName(prefix.MhType), verifcid.DefaultAllowlist.MinDigestSize(prefix.MhType))
	default:
		return fmt.Errorf("IPFS nodes refuse this CID: %w", err)
	}
}

// privateGitRaw is a second code of git-raw, for compressed objects, that Kubo
// registers in the private range.
const privateGitRaw = multicodec.ReservedStart + multicodec.GitRaw

// unpinnableCodec returns why no CID with that codec can be pinned; empty for the
// codecs that Kubo decodes, plug-ins of its release included: "ipfs cid codecs
// --supported" lists them. A node pins only what it can decode, because it
// follows the links. Codecs of plug-ins that a user adds are refused, too. The
// service's own codec for its records goes here (D11).
func unpinnableCodec(code uint64) (reason string) {
	switch c := multicodec.Code(code); c {
	case multicodec.DagPb, multicodec.Raw, multicodec.DagCbor, multicodec.Cbor, multicodec.DagJson, multicodec.Json,
		multicodec.GitRaw, multicodec.DagJose, privateGitRaw:
		return ""
	case multicodec.Libp2pKey:
		return "is an IPNS name (codec libp2p-key), which names a key and no content; " +
			"resolve it first with `ipfs name resolve`, and send the CID that it points to"
	default:
		return fmt.Sprintf("has the codec %s, which Kubo cannot decode as released, and so cannot pin; "+
			"the codecs that it decodes are dag-pb, raw, dag-cbor, cbor, dag-json, json, git-raw and dag-jose", codecName(c))
	}
}

// checkIdentity decodes the content of an identity CID as a node does. The
// content has at most MaxDigestBytes, which bounds the depth of identity CIDs
// within it. Some nodes refuse more: newer ones want strict CBOR.
func checkIdentity(c cid.Cid) error {
	prefix := c.Prefix()
	if prefix.MhType != multihash.IDENTITY {
		return nil
	}
	decode, builder := identityDecoder(prefix.Codec)
	if decode == nil {
		return nil
	}
	hash, err := multihash.Decode(c.Hash())
	if err != nil {
		return fmt.Errorf("IPFS nodes refuse this CID: %w", err)
	}
	if err := decode(builder, bytes.NewReader(hash.Digest)); err != nil {
		return fmt.Errorf("the content of the identity CID %s is not valid %s: %w",
			quote(c.String()), codecName(multicodec.Code(prefix.Codec)), err)
	}
	links, err := traversal.SelectLinks(builder.Build())
	if err != nil {
		return fmt.Errorf("the links of the identity CID %s: %w", quote(c.String()), err)
	}
	for _, link := range links {
		if target, ok := link.(cidlink.Link); ok {
			if err := CheckPinnable(target.Cid); err != nil {
				return fmt.Errorf("the identity CID %s links to what cannot be pinned: %w", quote(c.String()), err)
			}
		}
	}
	return nil
}

// identityDecoder is Kubo's decoder for a codec; nil for raw content, which
// needs none, and for the codecs of plug-ins (git-raw, dag-jose), whose content
// only the node checks.
func identityDecoder(code uint64) (codec.Decoder, datamodel.NodeBuilder) {
	anything := basicnode.Prototype.Any.NewBuilder()
	switch multicodec.Code(code) {
	case multicodec.DagPb:
		return dagpb.Decode, dagpb.Type.PBNode.NewBuilder()
	case multicodec.DagCbor:
		return dagcbor.Decode, anything
	case multicodec.Cbor:
		return cbor.Decode, anything
	case multicodec.DagJson:
		return dagjson.Decode, anything
	case multicodec.Json:
		return json.Decode, anything
	default:
		return nil, nil
	}
}

// codecName is the name of a codec in the multicodec table, with its code; the
// code alone if the table does not have it.
func codecName(code multicodec.Code) string {
	if name := code.String(); name != fmt.Sprintf("Code(%d)", code) {
		return fmt.Sprintf("%s (0x%x)", name, uint64(code))
	}
	return fmt.Sprintf("0x%x", uint64(code))
}

func hashName(code uint64) string {
	if name, ok := multihash.Codes[code]; ok {
		return name
	}
	return fmt.Sprintf("0x%x", code)
}
