// Package kuborpc calls commands of a Kubo node's RPC and reports every error that
// the node states, also those that come after its response has begun. It is by hand
// because Kubo's own client is a part of its whole module, which is not to be linked.
package kuborpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// maxReply bounds the reply of Call.
const maxReply = 4 << 20

// Client calls commands of one node. It is safe for concurrent use.
type Client struct {
	addr   func() (multiaddr.Multiaddr, error)
	client *http.Client
}

// New returns a client of the node whose RPC is at addr, which is called before each
// request: the address of a managed node changes.
func New(addr func() (multiaddr.Multiaddr, error)) *Client {
	c := &Client{addr: addr}
	const kept = 16
	c.client = &http.Client{Transport: &http.Transport{
		DialContext:         c.dial,
		MaxIdleConnsPerHost: kept,
		IdleConnTimeout:     30 * time.Second,
	}}
	return c
}

// Close releases idle connections to the node.
func (c *Client) Close() { c.client.CloseIdleConnections() }

// Error is what the node states, in one line.
type Error struct {
	Command string
	// Code is the HTTP status of the response; 200 when the error came after the
	// response had begun.
	Code    int
	Message string
}

func (e *Error) Error() string { return e.Command + ": " + e.Message }

// Call calls a command and decodes its reply, unless reply is nil.
func (c *Client) Call(ctx context.Context, command string, args url.Values, reply any) error {
	stream, err := c.Stream(ctx, command, args)
	if err != nil {
		return err
	}
	defer stream.Close()
	body, err := io.ReadAll(io.LimitReader(stream.resp.Body, maxReply))
	if err != nil {
		return err
	}
	if err := stream.late(); err != nil {
		return err
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(body, reply)
}

// Stream calls a command whose reply is a sequence of JSON values. The caller
// closes the stream.
func (c *Client) Stream(ctx context.Context, command string, args url.Values) (*Stream, error) {
	base, err := c.base()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/v0/"+command+"?"+args.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }()
		return nil, refusal(command, resp)
	}
	return &Stream{command: command, resp: resp, dec: json.NewDecoder(resp.Body)}, nil
}

// refusal is the error of a response that is not 200.
func refusal(command string, resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return err
	}
	var reply struct{ Message string }
	if json.Unmarshal(body, &reply) != nil || reply.Message == "" {
		reply.Message = fmt.Sprintf("%s: %.200s", resp.Status, body)
	}
	return &Error{Command: command, Code: resp.StatusCode, Message: oneLine(reply.Message)}
}

// oneLine joins the lines of a message: Kubo uses several.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// Stream is the reply of a command in progress. It is used by one goroutine.
type Stream struct {
	command string
	resp    *http.Response
	dec     *json.Decoder
}

// Next decodes the next value. It returns io.EOF at the end of a reply without an
// error, and an *Error when the node states one there.
func (s *Stream) Next(value any) error {
	err := s.dec.Decode(value)
	if !errors.Is(err, io.EOF) {
		return err
	}
	if late := s.late(); late != nil {
		return late
	}
	return err
}

// late returns the error that came after the response had begun. It is there once
// the body was read to its end.
func (s *Stream) late() error {
	const trailer = "X-Stream-Error"
	if message := s.resp.Trailer.Get(trailer); message != "" {
		return &Error{Command: s.command, Code: s.resp.StatusCode, Message: oneLine(message)}
	}
	return nil
}

// Close ends the request.
func (s *Stream) Close() { _ = s.resp.Body.Close() }

// unixHost stands for a Unix socket in URLs.
const unixHost = "unix-socket"

func (c *Client) base() (string, error) {
	network, host, err := c.dialArgs()
	if err != nil {
		return "", err
	}
	if network == "unix" {
		host = unixHost
	}
	return "http://" + host, nil
}

func (c *Client) dialArgs() (network, host string, err error) {
	addr, err := c.addr()
	if err != nil {
		return "", "", err
	}
	network, host, err = manet.DialArgs(addr)
	if err != nil {
		return "", "", fmt.Errorf("the address of the IPFS node's RPC: %w", err)
	}
	return network, host, nil
}

func (c *Client) dial(ctx context.Context, network, host string) (net.Conn, error) {
	if host == unixHost+":80" {
		var err error
		if network, host, err = c.dialArgs(); err != nil {
			return nil, err
		}
	}
	var d net.Dialer
	return d.DialContext(ctx, network, host)
}
