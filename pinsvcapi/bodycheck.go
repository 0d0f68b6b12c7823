package pinsvcapi

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const formType = "application/x-www-form-urlencoded"

// boundBodyTime makes reading the body fail once the time of its policy is
// over. A shorter read_timeout, which net/http has begun to count, stays.
func (api *API) boundBodyTime(rq *request, r *http.Request) {
	limit := cmp.Or(rq.route.endpoint.policy.body.readTimeout, api.cfg.BodyReadTimeout)
	if r.Body == http.NoBody || limit <= 0 || (api.cfg.ReadTimeout > 0 && api.cfg.ReadTimeout <= limit) {
		return
	}
	// The deadline does not affect the response: net/http removes it once it
	// has read the body to its end.
	if err := rq.conn.SetReadDeadline(rq.start.Add(limit)); err != nil {
		logger.Debugf("request %s: the time to read its body is not bounded: %v", rq.id, err)
	}
}

// checkBody applies the body policy of the endpoint: size, coding and type.
func (api *API) checkBody(w http.ResponseWriter, r *http.Request, p bodyPolicy) error {
	if !p.accepted {
		return nil
	}
	limit, key := p.maxBytes, ""
	if limit == 0 {
		limit, key = api.cfg.MaxBodyBytes, " (max_body_bytes)"
	}
	r.Body = limitedBody{http.MaxBytesReader(w, r.Body, limit), key}
	if r.ContentLength > limit {
		return pinsvc.Errorf(pinsvc.KindPayloadTooLarge, "the body has %d bytes; at most %d are accepted%s", r.ContentLength, limit, key)
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return pinsvc.Errorf(pinsvc.KindUnsupportedMediaType, "send the body without Content-Encoding")
	}
	if r.ContentLength == 0 || p.accepts(r.Header) {
		return nil
	}
	return p.refusal()
}

// readBody reads the body that checkBody has accepted into memory, where it is
// counted until release is called. A client that sends it slowly so holds no slot
// of the admission.
func (api *API) readBody(rq *request, r *http.Request, p bodyPolicy) (release func(), err error) {
	if !p.accepted || r.Body == http.NoBody {
		return func() {}, nil
	}
	var body bytes.Buffer
	if r.ContentLength < 0 { // It is chunked, and mostly small all the same.
		if _, err := io.CopyN(&body, r.Body, largeBody); err != nil && err != io.EOF {
			return nil, err
		}
	}
	expected := r.ContentLength
	if body.Len() == largeBody {
		expected = cmp.Or(p.maxBytes, api.cfg.MaxBodyBytes)
	}
	held, err := api.admission.hold(r.Context(), api.admission.bodies, rq.owner(), expected)
	if err != nil {
		return nil, err
	}
	if expected > 0 {
		body.Grow(int(expected) - body.Len() + bytes.MinRead)
		if _, err := io.Copy(&body, r.Body); err != nil {
			held.release()
			return nil, err
		}
	}
	r.Body = bodyInMemory{&body}
	return held.release, nil
}

// bodyInMemory is a body that was read.
type bodyInMemory struct{ *bytes.Buffer }

// Close implements io.Closer.
func (bodyInMemory) Close() error { return nil }

// accepts checks the declared type of a body.
//
// Browsers send some types, and a body without one, to other sites without a
// preflight, with the password that they remember. So a request with an Origin
// has to declare an accepted type, for which CORS then decides. Other types
// are refused from every client, so that the rule does not depend on the
// Origin header; a form is accepted only with a header that forces a preflight.
func (p bodyPolicy) accepts(h http.Header) bool {
	declared := h.Get("Content-Type")
	if declared == "" {
		return h.Get("Origin") == ""
	}
	mediaType, _, err := mime.ParseMediaType(declared)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return false
	}
	switch {
	case mediaType == formType:
		return p.forms && forcesPreflight(h)
	case p.types == nil:
		return isJSON(mediaType)
	default:
		return slices.Contains(p.types, mediaType)
	}
}

// forcesPreflight reports whether the request has a header that pages can send
// to another site only after a preflight, and that browsers never add. An
// Authorization of the Basic scheme is one that browsers add.
func forcesPreflight(h http.Header) bool {
	scheme, _, _ := strings.Cut(h.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") || h.Get("X-Api-Key") != ""
}

// isJSON is true for application/json, text/json and application/*+json.
func isJSON(mediaType string) bool {
	return mediaType == jsonType || mediaType == "text/json" ||
		(strings.HasPrefix(mediaType, "application/") && strings.HasSuffix(mediaType, "+json"))
}

// refusal shows the command line that works.
func (p bodyPolicy) refusal() error {
	if p.types != nil {
		return pinsvc.Errorf(pinsvc.KindUnsupportedMediaType, "send the body as Content-Type: %s", strings.Join(p.types, " or "))
	}
	if !p.forms {
		return pinsvc.Errorf(pinsvc.KindUnsupportedMediaType, "send no body, or one with Content-Type: application/json")
	}
	return pinsvc.Errorf(pinsvc.KindUnsupportedMediaType, "send the body as Content-Type: application/json, as in: "+
		`curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -d '{"cid":"bafy..."}' URL/pins`)
}

// limitedBody gives the errors of reading a body their kinds.
type limitedBody struct {
	io.ReadCloser
	key string // of the limit, in parentheses; may be empty
}

func (b limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return n, pinsvc.Wrap(pinsvc.KindPayloadTooLarge, err, "the body has more than %d bytes%s", tooLarge.Limit, b.key)
	}
	return n, pinsvc.Wrap(pinsvc.KindBadRequest, err, "the body could not be read to its end")
}
