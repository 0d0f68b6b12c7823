package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// connections is how many requests run at once where throughput is measured.
const connections = 64

// request is what the same client sends to each subject.
type request struct {
	method string // empty: GET
	path   string // with the query
	body   string
}

// reply is what came back.
type reply struct {
	status      int
	contentType string
	body        []byte
}

// client keeps its connections over 127.0.0.1 alive.
type client struct {
	http          *http.Client
	authorization string
}

func newClient(authorization string) *client {
	return &client{
		http: &http.Client{Transport: &http.Transport{
			MaxIdleConns:        4 * connections,
			MaxIdleConnsPerHost: connections,
			DisableCompression:  true,
		}},
		authorization: authorization,
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// send sends a request to the subject at url and reads the reply's body into
// buf.
func (c *client) send(ctx context.Context, url string, r request, buf *bytes.Buffer) (*http.Response, error) {
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, url+r.path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", c.authorization)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	buf.Reset()
	_, err = io.Copy(buf, resp.Body)
	resp.Body.Close()
	return resp, err
}

// do sends a request whose response must be a 2xx and returns how long
// that took.
func (c *client) do(ctx context.Context, url string, r request, buf *bytes.Buffer) (time.Duration, error) {
	begin := time.Now()
	resp, err := c.send(ctx, url, r, buf)
	took := time.Since(begin)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s%s: %s: %.200s", r.method, url, r.path, resp.Status, buf)
	}
	return took, err
}

// fetch is do for those who want the reply.
func (c *client) fetch(ctx context.Context, url string, r request) (reply, error) {
	var buf bytes.Buffer
	resp, err := c.send(ctx, url, r, &buf)
	if err != nil {
		return reply{}, err
	}
	return reply{resp.StatusCode, resp.Header.Get("Content-Type"), buf.Bytes()}, nil
}

// want fails unless the reply has that status.
func (c *client) want(ctx context.Context, status int, r request, url string) error {
	got, err := c.fetch(ctx, url, r)
	if err == nil && got.status != status {
		err = fmt.Errorf("%s%s: %d: %.200s", url, r.path, got.status, got.body)
	}
	return err
}
