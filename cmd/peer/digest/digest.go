// Package digest keeps a digest of the rows of a datastore: how many there are, and a sum
// over hashes of them that does not depend on their order. Two peers with the same digest
// have the same pinset. It is kept with each commit, in constant memory; where two digests
// differ, those of buckets of rows tell where.
package digest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Version is that of the hashes. Digests of different versions cannot be compared.
const Version = 1

// Buckets is the number of parts that rows are distributed to by a hash of their key.
const Buckets = 1024

// Digest is that of a set of rows: their number and the sum of their hashes, modulo 2^64.
type Digest struct {
	Count uint64
	Sum   uint64
}

// String is the digest as peers publish it: version, count and sum.
func (d Digest) String() string { return fmt.Sprintf("%d:%d:%016x", Version, d.Count, d.Sum) }

// Parse reads what String wrote.
func Parse(text string) (Digest, error) {
	version, rest, _ := strings.Cut(text, ":")
	if version != strconv.Itoa(Version) {
		return Digest{}, fmt.Errorf("%q is no digest of version %d", text, Version)
	}
	count, sum, _ := strings.Cut(rest, ":")
	c, err := strconv.ParseUint(count, 10, 64)
	if err != nil {
		return Digest{}, fmt.Errorf("%q has no count: %w", text, err)
	}
	s, err := strconv.ParseUint(sum, 16, 64)
	if err != nil {
		return Digest{}, fmt.Errorf("%q has no sum: %w", text, err)
	}
	return Digest{Count: c, Sum: s}, nil
}

func (d *Digest) add(hash uint64)    { d.Count++; d.Sum += hash }
func (d *Digest) remove(hash uint64) { d.Count--; d.Sum -= hash }

// hashOf is the hash of a row.
func hashOf(key string, value []byte) uint64 {
	h := sha256.New()
	_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(key))))
	_, _ = h.Write([]byte(key))
	_, _ = h.Write(value)
	var sum [sha256.Size]byte
	return binary.BigEndian.Uint64(h.Sum(sum[:0]))
}

// bucketOf is the bucket of a row.
func bucketOf(key string) int {
	sum := sha256.Sum256([]byte(key))
	return int(binary.BigEndian.Uint32(sum[:])) & (Buckets - 1)
}
