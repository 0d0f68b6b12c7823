package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	pinclient "github.com/ipfs/boxo/pinning/remote/client"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Endpoint is the URL of the Pinning Service API, without a slash at its end.
func (p *Peer) Endpoint() string { p.t.Helper(); return p.url("pinsvcapi") }

// RESTEndpoint is the URL of the cluster's REST API.
func (p *Peer) RESTEndpoint() string { p.t.Helper(); return p.url("restapi") }

func (p *Peer) url(api string) string {
	p.t.Helper()
	text := p.Config().Section("api", api).Strings("http_listen_multiaddress")[0]
	addr, err := multiaddr.NewMultiaddr(text)
	if err != nil {
		p.t.Fatal(err)
	}
	_, hostPort, err := manet.DialArgs(addr)
	if err != nil {
		p.t.Fatal(err)
	}
	return "http://" + hostPort
}

// Reply is a response of the service.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Pin is the spec's PinStatus as it came over the wire.
type Pin struct {
	RequestID string    `json:"requestid"`
	Status    string    `json:"status"`
	Created   time.Time `json:"created"`
	Pin       struct {
		CID     string            `json:"cid"`
		Name    string            `json:"name"`
		Origins []string          `json:"origins"`
		Meta    map[string]string `json:"meta"`
	} `json:"pin"`
	Delegates []string          `json:"delegates"`
	Info      map[string]string `json:"info"`
}

// Page is the spec's PinResults as it came over the wire.
type Page struct {
	Count   int   `json:"count"`
	Results []Pin `json:"results"`
}

// Ask sends one request, signed with the user's name and password when there
// is one. The body is sent as JSON when it is not nil.
func (p *Peer) Ask(method, path string, body any) (Reply, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return Reply{}, err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, p.Endpoint()+path, content)
	if err != nil {
		return Reply{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if p.User != "" {
		req.SetBasicAuth(p.User, p.Password)
	}
	return Send(req)
}

// Send sends any request and reads the whole response.
func Send(req *http.Request) (Reply, error) {
	// A transport of its own: closing the idle connections of the shared one ends requests of others.
	client := &http.Client{Timeout: Timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return Reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return Reply{Status: resp.StatusCode, Header: resp.Header, Body: b}, err
}

// into decodes a response that has to have the status.
func (r Reply) into(status int, target any) error {
	if r.Status != status {
		return fmt.Errorf("want %d, got %d %s", status, r.Status, r.Body)
	}
	return json.Unmarshal(r.Body, target)
}

// Get requests one pin.
func (p *Peer) Get(requestID string) (pin Pin, err error) {
	r, err := p.Ask(http.MethodGet, "/pins/"+requestID, nil)
	if err != nil {
		return pin, err
	}
	return pin, r.into(http.StatusOK, &pin)
}

// List requests one page; query is what follows the question mark.
func (p *Peer) List(query string) (page Page, err error) {
	r, err := p.Ask(http.MethodGet, "/pins?"+query, nil)
	if err != nil {
		return page, err
	}
	return page, r.into(http.StatusOK, &page)
}

// Add pins a CID under a name and wants it accepted.
func (p *Peer) Add(c cid.Cid, name string, origins ...string) Pin {
	p.t.Helper()
	body := map[string]any{"cid": c.String(), "name": name}
	if len(origins) > 0 {
		body["origins"] = origins
	}
	r, err := p.Ask(http.MethodPost, "/pins", body)
	if err != nil {
		p.t.Fatalf("%s: POST /pins: %v", p.Name, err)
	}
	var pin Pin
	if err := r.into(http.StatusAccepted, &pin); err != nil {
		p.t.Fatalf("%s: POST /pins: %v", p.Name, err)
	}
	return pin
}

// WaitPinned waits until the peer reports that the pin is pinned.
func (p *Peer) WaitPinned(requestID string) {
	p.t.Helper()
	Eventually(p.t, pinned, p.Name+" says pinned of "+requestID, func() error {
		pin, err := p.Get(requestID)
		if err == nil && pin.Status != "pinned" {
			err = fmt.Errorf("it is %s (%v)", pin.Status, pin.Info)
		}
		return err
	})
}

// Ready is nil when /ready returns 200, else an error with the response.
func (p *Peer) Ready() error {
	r, err := p.Ask(http.MethodGet, "/ready", nil)
	if err == nil && r.Status != http.StatusOK {
		err = fmt.Errorf("/ready: %d %s", r.Status, r.Body)
	}
	return err
}

// WaitReady waits until the daemon is ready.
func (p *Peer) WaitReady() {
	p.t.Helper()
	Eventually(p.t, ReadyTimeout, p.Name+" is ready", func() error {
		if !p.proc.Running() {
			p.t.Fatalf("%s has ended: %v; its last lines:\n%s", p.Name, p.proc.exitErr, p.proc.Tail(40))
		}
		return p.Ready()
	})
}

// WaitNotReady waits until /ready returns 503 with the reason.
func (p *Peer) WaitNotReady(reason string) {
	p.t.Helper()
	Eventually(p.t, ReadyTimeout, fmt.Sprintf("%s says that it is not ready: %q", p.Name, reason), func() error {
		if !p.proc.Running() {
			p.t.Fatalf("%s has ended: %v", p.Name, p.proc.exitErr)
		}
		r, err := p.Ask(http.MethodGet, "/ready", nil)
		if err == nil && (r.Status != http.StatusServiceUnavailable || !strings.Contains(string(r.Body), reason)) {
			err = fmt.Errorf("/ready: %d %s", r.Status, r.Body)
		}
		return err
	})
}

// Client is boxo's Go client of the service, with a token of the user.
func (p *Peer) Client() *pinclient.Client {
	p.t.Helper()
	return pinclient.NewClient(p.Endpoint(), p.Token())
}

// ErrNotYet is for conditions that have nothing more to report.
var ErrNotYet = errors.New("not yet")
