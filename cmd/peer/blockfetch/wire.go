package blockfetch

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A request is the ID of a block and how many blocks are wanted; the response is as many blocks as
// there are, none if the first is missing. Both are of fields that begin with their length, as a varint.

const (
	// maxID bounds an ID, which is a multihash in base 32.
	maxID = 256
	// maxBlocks bounds the blocks of a response, and maxBytes their size, which the last one exceeds.
	maxBlocks, maxBytes = 256, 256 << 10
	// maxBlock is that of Bitswap: go-ds-crdt makes blocks of about 1 MiB.
	maxBlock = 2 << 20
)

var errTooLong = errors.New("a field is too long")

func writeField(w io.Writer, field []byte) error {
	if _, err := w.Write(binary.AppendUvarint(nil, uint64(len(field)))); err != nil {
		return err
	}
	_, err := w.Write(field)
	return err
}

// readField returns io.EOF at the end between two fields.
func readField(r *bufio.Reader, limit uint64) ([]byte, error) {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, errTooLong
	}
	field := make([]byte, size)
	if _, err := io.ReadFull(r, field); err != nil {
		return nil, fmt.Errorf("reading a field: %w", err)
	}
	return field, nil
}

// request asks for a block and what is below it.
type request struct {
	id    string
	count int
}

func (q request) write(w io.Writer) error {
	b := bufio.NewWriterSize(w, maxID)
	if err := writeField(b, []byte(q.id)); err != nil {
		return err
	}
	if _, err := b.Write(binary.AppendUvarint(nil, uint64(q.count))); err != nil {
		return err
	}
	return b.Flush()
}

func readRequest(r io.Reader) (request, error) {
	b := bufio.NewReaderSize(r, maxID)
	id, err := readField(b, maxID)
	if err != nil {
		return request{}, err
	}
	count, err := binary.ReadUvarint(b)
	return request{string(id), int(min(count, maxBlocks))}, err
}
