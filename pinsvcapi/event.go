package pinsvcapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
	"go.uber.org/zap/zapcore"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// statusClientGone is nginx's status for a client that closed the connection
// before the response. It is used in logs and metrics only.
const statusClientGone = 499

// requestEvent is the one event of a request. Middleware and handlers fill it;
// the access log and the metrics read it. It has no query, no headers but
// those named here, and no body, so it never holds a token or a password.
type requestEvent struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"request_id"`
	// Remote is the other end of the connection, Client the address behind
	// trusted proxies.
	Remote string `json:"remote"`
	Client string `json:"client"`
	User   string `json:"user,omitempty"`
	// TriedUser is the user name of a failed login.
	TriedUser string `json:"tried_user,omitempty"`
	// TokenID is the jti of the token that was used.
	TokenID    string  `json:"token_id,omitempty"`
	Method     string  `json:"method"`
	Path       string  `json:"path"`
	Route      string  `json:"route"`
	Status     int     `json:"status"`
	Bytes      int64   `json:"bytes"`
	DurationMS float64 `json:"duration_ms"`
	// Streamed: the response was a stream, and DurationMS has its length.
	Streamed  bool   `json:"streamed,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	// Source is the application that X-Request-Source names, from a closed
	// set; empty without the header.
	Source string `json:"source,omitempty"`
	// CIDs are those that the request names.
	CIDs []string `json:"cids,omitempty"`
	// Results is the number of pins in the response to a list request.
	Results *int `json:"results,omitempty"`
	// DroppedOrigins is the number of origins of the request that were not
	// kept: not understood, or more than the limit.
	DroppedOrigins int `json:"dropped_origins,omitempty"`
	// Reason is the kind of failure, as the client reads it, or clientGone.
	Reason string `json:"reason,omitempty"`
	// Error is the whole cause of a failure, which the client does not read.
	Error string `json:"error,omitempty"`

	gone bool // the client disconnected before the response
}

// Limits of what clients can make us log per field.
const (
	maxLogged      = 256
	maxLoggedError = 1024
	maxLoggedCIDs  = 10
)

// clip makes text of a client fit for the log: about maxLogged bytes, whole
// runes, and nothing that a terminal or an editor does not show as it is.
func clip(text string) string { return clipTo(text, maxLogged) }

func clipTo(text string, limit int) string {
	start, cut := cutAt(text, limit)
	start, cutAgain := cutAt(escapeHidden(start), limit)
	if cut || cutAgain {
		return start + "…"
	}
	return start
}

// cutAt returns at most the first limit bytes of text, in whole runes, and whether
// there are more.
func cutAt(text string, limit int) (start string, cut bool) {
	if len(text) <= limit {
		return text, false
	}
	end := limit
	for back := 0; back < utf8.UTFMax && !utf8.RuneStart(text[end]); back++ {
		end--
	}
	return text[:end], true
}

// escapeHidden writes control, formatting and invalid characters as Go does:
// a line break could forge a line of a log, and a bidirectional override makes
// text read as another (CVE-2021-42574).
func escapeHidden(text string) string {
	if strings.IndexFunc(text, hidden) < 0 && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case hidden(r):
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
		text = text[size:]
	}
	return b.String()
}

func hidden(r rune) bool { return !unicode.IsGraphic(r) }

// addCIDs notes the CIDs that a request names.
func (e *requestEvent) addCIDs(cids ...cid.Cid) {
	for _, c := range cids[:min(len(cids), maxLoggedCIDs)] {
		e.CIDs = append(e.CIDs, c.String())
	}
}

// clientGone is the reason of requests whose client did not wait for the
// response.
const clientGone = "CLIENT_GONE"

// setFailure notes why the request failed.
func (e *requestEvent) setFailure(err error) {
	e.Reason = pinsvc.KindOf(err).String()
	if e.gone {
		e.Reason = clientGone
	}
	e.Error = clipTo(err.Error(), maxLoggedError)
}

// completeEvent fills in what is known once the response was sent.
func (rq *request) completeEvent(r *http.Request) {
	e := &rq.event
	e.Time = rq.start.UTC()
	e.RequestID = rq.id
	e.Remote = r.RemoteAddr
	e.Client = rq.client.String()
	e.User = string(rq.caller.User)
	e.TokenID = clip(rq.caller.TokenID)
	e.Method = clip(r.Method)
	e.Path = clip(r.URL.Path)
	e.Route = rq.route.label()
	e.Status = rq.status()
	e.Bytes = rq.recorder.bytes
	e.DurationMS = float64(time.Since(rq.start).Microseconds()) / 1000
	e.Streamed = !rq.streamStart.IsZero()
	e.UserAgent = clip(r.UserAgent())
	e.Source = sourceOf(r.Header)
}

// status is the status for logs and metrics.
func (rq *request) status() int {
	switch {
	case rq.event.gone:
		return statusClientGone
	case rq.recorder.status == 0: // The connection was aborted.
		return http.StatusInternalServerError
	default:
		return rq.recorder.status
	}
}

// level is error for faults of the service, warning while something is
// unavailable, and information for mistakes of clients. Probes ask every few seconds, and when what
// they are told changes the log says so by itself.
func (e *requestEvent) level() zapcore.Level {
	probe := e.Route == "health" || e.Route == "ready"
	switch {
	case e.gone:
		return zapcore.InfoLevel
	case e.Reason == pinsvc.KindInternal.String(): // Also of a stream that failed after its 200.
		return zapcore.ErrorLevel
	case probe && (e.Status < http.StatusInternalServerError || e.Status == http.StatusServiceUnavailable):
		return zapcore.DebugLevel
	case e.Status < http.StatusInternalServerError:
		return zapcore.InfoLevel
	case e.Status == http.StatusServiceUnavailable:
		return zapcore.WarnLevel
	default:
		return zapcore.ErrorLevel
	}
}

// observe publishes the event of a request once it has ended.
func (api *API) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rq := requestOf(r)
		api.metrics.inFlight.Inc()
		defer func() {
			rq.completeEvent(r)
			api.metrics.inFlight.Dec()
			api.metrics.count(rq)
			api.accessLog.write(&rq.event)
		}()
		next.ServeHTTP(w, r)
	})
}

const requestSourceHeader = "X-Request-Source"

// otherSource stands for every source that is not in the closed set.
const otherSource = "other"

// sourceOf returns the application that sent the request, from its
// X-Request-Source header, or "" without the header.
func sourceOf(h http.Header) string {
	source := h.Get(requestSourceHeader)
	switch source {
	case "", "kubo", "desktop", "webui", "web", "helia", "js", "cli", "pinctl", "console", "auspinner":
		return source
	default:
		return otherSource
	}
}
