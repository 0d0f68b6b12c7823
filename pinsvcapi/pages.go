package pinsvcapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// A page of 1,000 pins with as much meta as is accepted has almost 100 MiB: pages are rendered in
// pieces, as the client reads them, and what a piece and the rows take is counted before.
const (
	// shortPage is the number of rows up to which a page is not counted before it is made.
	shortPage = 100
	// pieceSize and longPieceSize are the sizes at which a piece of a page ends. Most pages of
	// 1,000 pins are one piece, which takes a third less time than several.
	pieceSize, longPieceSize = largeBody, 1 << 20
	// maxRow bounds by how much the last row of a piece exceeds its size, for the count.
	maxRow = 128 << 10
	// rowMemory is what a row takes beside its text, which it shares with the view.
	rowMemory = 512
)

// pageBytes is what a page with so many rows takes.
func pageBytes(rows int) int64 { return int64(rows)*rowMemory + longPieceSize + maxRow }

// preparePage reads the query of a list and takes the memory of a long page.
func (api *API) preparePage(rq *request, r *http.Request) (err error) {
	if rq.query, err = pinsvc.ParseRawQuery(r.URL.RawQuery); err != nil || rq.query.Limit <= shortPage {
		return err
	}
	rq.held, err = api.admission.hold(r.Context(), api.admission.pages, rq.owner(), pageBytes(rq.query.Limit))
	return err
}

// pageResponse is a response with a page. All of it can be rendered if the first piece was.
func (api *API) pageResponse(rq *request, page pinsvc.Page) (response, error) {
	size, pool := pieceSize, &api.buffers
	if rq.held != nil {
		size, pool = longPieceSize, &api.longBuffers
		// More than the limit of the query are there if many pins have one time.
		if !rq.held.resize(pageBytes(len(page.Rows))) {
			return response{}, api.admission.shed()
		}
	}
	pieces := page.Pieces()
	body, more, err := pieces.Append(pool.take(), size)
	if err == nil && more {
		err = pieces.Check()
	}
	if err != nil {
		return response{}, fmt.Errorf("rendering the response: %w", err)
	}
	resp := response{status: http.StatusOK, contentType: jsonType, body: body, pool: pool}
	if !more {
		resp.body = append(body, '\n')
		if rq.held != nil { // The rows are not needed any more.
			rq.held.resize(min(rq.held.bytes, int64(cap(resp.body))))
		}
		return resp, nil
	}
	resp.rest = func(dst []byte) ([]byte, bool, error) {
		dst, more, err := pieces.Append(dst, size)
		if !more {
			dst = append(dst, '\n')
		}
		return dst, more, err
	}
	return resp, nil
}

// holdResponse counts a response that was made: one of a long page is counted already. It does
// not wait, because the response is in memory meanwhile.
func (api *API) holdResponse(rq *request, resp *response) error {
	if rq.held != nil || len(resp.body) < largeBody && resp.rest == nil {
		return nil
	}
	if rq.held = api.admission.responses.try(rq.owner(), int64(cap(resp.body))); rq.held == nil {
		resp.discard()
		return api.admission.shed()
	}
	return nil
}

// errNotWhole is the failure of a response whose rest cannot be rendered.
var errNotWhole = errors.New("the rest of the response could not be rendered")

// sendRest sends what follows the first piece of a response, whose buffer is used again.
func (api *API) sendRest(w http.ResponseWriter, rq *request, resp *response) error {
	sent := len(resp.body)
	for more := true; more; {
		var err error
		if resp.body, more, err = resp.rest(resp.body[:0]); err != nil {
			rq.event.setFailure(fmt.Errorf("%w: %w", errNotWhole, err))
			panic(http.ErrAbortHandler) // The client sees that the response is not complete.
		}
		sent += len(resp.body)
		api.boundWriteTime(rq, sent)
		if _, err := w.Write(resp.body); err != nil {
			return err
		}
	}
	return nil
}
