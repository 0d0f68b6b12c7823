package pinsvc

import (
	"errors"
	"fmt"

	"github.com/ipfs/boxo/verifcid"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// CheckPinnable returns an error for a CID that no IPFS node will ever pin, so
// that the request fails at once and not after the last attempt:
//
//   - keys (codec libp2p-key), which name no content: see unpinnableCodecs,
//   - multihashes that Kubo refuses: it does not trust the hash function, or
//     the digest is too short or too long (boxo's package verifcid).
//
// Codecs without a decoder in Kubo are not refused: a plugin may add one. Raw
// identity CIDs can be pinned.
func CheckPinnable(c cid.Cid) error {
	if reason := unpinnableCodec(c.Prefix().Codec); reason != "" {
		return fmt.Errorf("%s %s", quote(c.String()), reason)
	}
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

// unpinnableCodec says why no CID with that codec can be pinned; empty for all
// others. The service's own codec for its records goes here (D11).
func unpinnableCodec(codec uint64) (reason string) {
	switch codec {
	case cid.Libp2pKey:
		return "is an IPNS name (codec libp2p-key), which names a key and no content; " +
			"resolve it first with `ipfs name resolve`, and send the CID that it points to"
	default:
		return ""
	}
}

func hashName(code uint64) string {
	if name, ok := multihash.Codes[code]; ok {
		return name
	}
	return fmt.Sprintf("0x%x", code)
}
