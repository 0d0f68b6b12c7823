package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// requestTimeout is how long a client waits for an answer. The service answers
// much sooner, unless its peer is frozen.
const requestTimeout = 30 * time.Second

// Credentials are who a client is.
type Credentials struct{ User, Password string }

// answer is a response, or why there is none.
type answer struct {
	method     string
	code       int
	body       []byte
	retryAfter string
	err        error
	sent       bool // The peer may have received the request.
	call, took time.Duration
}

// outcome is what is known of the effect of a write.
func (a answer) outcome() Outcome {
	switch {
	case a.err != nil && !a.sent:
		return Refused
	case a.err != nil:
		return Unanswered
	case a.code >= 500:
		return Failed
	case a.code < 300:
		return Done
	}
	return Refused
}

// maxRetryAfter bounds how long a client waits when it is asked to come again later, as clients do.
// Without that a peer without a leader answers thousands of writes with 503 in seconds, each of
// which may or may not have an effect: a history of them cannot be checked in any time.
const maxRetryAfter = time.Second

// pause is how long a client waits after the answer.
func (a answer) pause() time.Duration {
	seconds, err := strconv.Atoi(a.retryAfter)
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}

// text is the answer for the history.
func (a answer) text() string {
	if a.err != nil {
		return a.err.Error()
	}
	if a.code >= 400 {
		return string(bytes.TrimSpace(a.body[:min(len(a.body), 300)]))
	}
	return ""
}

// pin is the spec's PinStatus as it comes over the wire.
type pin struct {
	RequestID string            `json:"requestid"`
	Status    string            `json:"status"`
	Created   string            `json:"created"`
	Pin       wirePin           `json:"pin"`
	Info      map[string]string `json:"info"`
}

// wirePin is the spec's Pin.
type wirePin struct {
	CID     string            `json:"cid"`
	Name    string            `json:"name,omitempty"`
	Origins []string          `json:"origins,omitempty"`
	Meta    map[string]string `json:"meta,omitempty"`
}

// page is the spec's PinResults.
type page struct {
	Count   int   `json:"count"`
	Results []pin `json:"results"`
}

func (p pin) record() Record {
	return Record{Name: p.Pin.Name, Meta: p.Pin.Meta, Origins: p.Pin.Origins}
}

// allStatuses makes a list have the pins of every status.
const allStatuses = "status=queued,pinning,pinned,failed"

// ask sends one request to a peer.
func ask(ctx context.Context, n *node, who Credentials, since time.Time, method, path string, body any) answer {
	return askPort(ctx, n, apiPort, who, since, method, path, body)
}

// askPort sends one request to an API of a peer.
func askPort(ctx context.Context, n *node, port int, who Credentials, since time.Time, method, path string, body any) (a answer) {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return answer{err: err}
		}
		content = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, n.url(port, path), content)
	if err != nil {
		return answer{err: err}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.SetBasicAuth(who.User, who.Password)
	a = answer{call: time.Since(since), sent: true}
	defer func() { a.took = time.Since(since) - a.call }()
	resp, err := n.http.Do(req)
	if err != nil {
		var op *net.OpError
		a.err, a.sent = err, !(errors.As(err, &op) && op.Op == "dial")
		return a
	}
	defer func() { _ = resp.Body.Close() }()
	a.code, a.retryAfter = resp.StatusCode, resp.Header.Get("Retry-After")
	a.body, a.err = io.ReadAll(resp.Body)
	return a
}

// send sends a request and reads the response.
func send(c *http.Client, req *http.Request) (int, []byte, error) {
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// listAll reads all rows of a peer, page by page, as the specification's clients
// do.
func listAll(ctx context.Context, n *node, who Credentials) ([]pin, error) {
	const limit = 200
	var rows []pin
	before := ""
	for {
		path := "/pins?limit=" + strconv.Itoa(limit) + "&" + allStatuses
		if before != "" {
			path += "&before=" + url.QueryEscape(before)
		}
		a := ask(ctx, n, who, time.Now(), http.MethodGet, path, nil)
		if a.err != nil {
			return nil, a.err
		}
		if a.code != http.StatusOK {
			return nil, fmt.Errorf("%s: GET %s: %d %s", n.name, path, a.code, a.body)
		}
		var p page
		if err := json.Unmarshal(a.body, &p); err != nil {
			return nil, err
		}
		rows = append(rows, p.Results...)
		if len(p.Results) == 0 || len(p.Results) >= p.Count {
			return rows, nil
		}
		before = p.Results[len(p.Results)-1].Created
	}
}

// countPins is how many pins of all statuses a peer says that there are.
func countPins(ctx context.Context, n *node, who Credentials) (int, error) {
	a := ask(ctx, n, who, time.Now(), http.MethodGet, "/pins?limit=1&"+allStatuses, nil)
	if a.err == nil && a.code != http.StatusOK {
		a.err = fmt.Errorf("%s: counting its pins: %d %s", n.name, a.code, a.body)
	}
	if a.err != nil {
		return 0, a.err
	}
	var p page
	err := json.Unmarshal(a.body, &p)
	return p.Count, err
}

// cids are the CIDs of a list's filter.
func cids(list []string) string { return "cid=" + url.QueryEscape(strings.Join(list, ",")) }
