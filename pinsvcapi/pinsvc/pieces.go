package pinsvc

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// AppendJSON appends the JSON form to dst; see PinStatus.AppendJSON.
func (p Page) AppendJSON(dst []byte) ([]byte, error) {
	pieces := p.Pieces()
	dst, _, err := pieces.Append(dst, math.MaxInt)
	return dst, err
}

// Pieces renders the page piece by piece, for pages that are too large to be in memory as a
// whole.
func (p Page) Pieces() *Pieces { return &Pieces{page: p} }

// Pieces is a page that is being rendered. It is not safe for concurrent use.
type Pieces struct {
	page Page
	next int // row
}

// Append appends the next piece of the JSON form to dst: it ends with the row with which it has
// size bytes. more reports whether there are further pieces.
func (p *Pieces) Append(dst []byte, size int) (_ []byte, more bool, err error) {
	from := len(dst)
	if p.next == 0 {
		dst = append(dst, `{"count":`...)
		dst = strconv.AppendInt(dst, int64(p.page.Count), 10)
		dst = append(dst, `,"results":[`...)
	}
	rows := p.page.Rows
	for first := p.next; p.next < len(rows); p.next++ {
		if p.next > first && len(dst)-from >= size {
			return dst, true, nil
		}
		if p.next > 0 {
			dst = append(dst, ',')
		}
		before := len(dst)
		if dst, err = rows[p.next].AppendJSON(dst); err != nil {
			return dst, false, fmt.Errorf("result %d: %w", p.next, err)
		}
		if p.next == first {
			// The others will have about the same length.
			row := len(dst) - before + 32
			rest := row * (len(rows) - first)
			if left := max(0, size-(len(dst)-from)); left < rest {
				rest = left + row
			}
			dst = slices.Grow(dst, rest)
		}
	}
	return append(dst, "]}"...), false, nil
}

// Check returns the error that Append will return for any row that is left.
func (p *Pieces) Check() error {
	var text [32]byte
	for i := p.next; i < len(p.page.Rows); i++ {
		row := &p.page.Rows[i]
		err := row.check()
		if err == nil {
			_, err = appendTime(text[:0], time.UnixMilli(row.Created))
		}
		if err != nil {
			return fmt.Errorf("result %d: %w", i, err)
		}
	}
	return nil
}
