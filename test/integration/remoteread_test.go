package integration

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// balancer is an HTTP load balancer that gives each peer one request in turn.
func balancer(t *testing.T, peers []*harness.Peer) *httptest.Server {
	t.Helper()
	urls := make([]*url.URL, len(peers))
	for i, p := range peers {
		endpoint, err := url.Parse(p.Endpoint())
		if err != nil {
			t.Fatal(err)
		}
		urls[i] = endpoint
	}
	var turn atomic.Uint64
	s := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		i := turn.Add(1) % uint64(len(peers))
		r.SetURL(urls[i])
		// The passwords of these peers differ.
		r.Out.SetBasicAuth(peers[i].User, peers[i].Password)
	}})
	t.Cleanup(s.Close)
	return s
}

func TestReadYourWrites_AtEveryPeerWithCRDT(t *testing.T) {
	t.Parallel()
	readYourWrites(t, "crdt", 1000)
}

func TestReadYourWrites_AtEveryPeerWithRaft(t *testing.T) {
	t.Parallel()
	readYourWrites(t, "raft", 1000)
}

// A client behind a balancer reads, removes and replaces at one peer what another one has
// accepted a moment ago.
func readYourWrites(t *testing.T, consensus string, n int) {
	h := harness.New(t)
	peers := h.Cluster(3, consensus)
	client := h.Kubo()
	client.Start()
	client.AddService("balanced", balancer(t, peers).URL, peers[0].Token())
	for i := range 12 {
		// In the foreground: it polls for the status and gives up at the first error.
		c := client.Add(fmt.Sprintf("through a balancer, number %d", i))
		client.Ipfs("pin", "remote", "add", "--service=balanced", fmt.Sprintf("--name=%d", i), c.String())
	}

	var longest time.Duration
	for i := range n {
		c := inline(t, fmt.Sprintf("number %d", i))
		at, elsewhere := peers[i%3], peers[(i+1+i/3%2)%3]
		at.Add(c, fmt.Sprint(i))
		began := time.Now()
		pin, err := elsewhere.Get(c.String())
		if err != nil || pin.Pin.Name != fmt.Sprint(i) {
			t.Fatalf("%s, pin %d of %s: %+v, %v", elsewhere.Name, i, at.Name, pin, err)
		}
		longest = max(longest, time.Since(began))
	}
	t.Logf("%d pins were read at another peer at once; the longest GET took %s", n, longest)

	for i := range 30 {
		c, b := inline(t, fmt.Sprintf("number %d to remove", i)), inline(t, fmt.Sprintf("number %d after it", i))
		peers[i%3].Add(c, "short")
		other := peers[(i+1)%3]
		if page, err := other.List("cid=" + c.String() + "&status=queued,pinning,pinned,failed"); err != nil || page.Count != 1 {
			t.Fatalf("%s lists %+v for a pin that was just made elsewhere: %v", other.Name, page, err)
		}
		if i%2 == 0 {
			want(t, request(t, other, http.MethodPost, "/pins/"+c.String(), map[string]string{"cid": b.String()}), http.StatusAccepted, "")
			continue
		}
		want(t, request(t, other, http.MethodDelete, "/pins/"+c.String(), nil), http.StatusAccepted, "")
		want(t, request(t, other, http.MethodGet, "/pins/"+c.String(), nil), http.StatusNotFound, "NOT_FOUND")
	}

	endAfterAChangeElsewhere(t, peers, 30)

	// A peer that is gone without a word leaves open what it has accepted, until its ping is over.
	gone := peers[2]
	gone.Kill()
	missing := unknown(t, consensus)
	began := time.Now()
	r := request(t, peers[0], http.MethodGet, "/pins/"+missing.String(), nil)
	took := time.Since(began)
	if consensus == "raft" && r.Status == http.StatusNotFound {
		return // The leader lives, and knows all that was accepted.
	}
	if r.Status != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" || took > 4*time.Second {
		t.Errorf("while a peer does not answer: %d %s after %s", r.Status, r.Body, took)
	}
	harness.Eventually(t, harness.Timeout, "404 once its ping is over", func() error {
		r, err := peers[0].Ask(http.MethodGet, "/pins/"+missing.String(), nil)
		if err == nil && r.Status != http.StatusNotFound {
			err = errors.New(string(r.Body))
		}
		return err
	})
}

// A peer that has removed a pin knows so after a restart as well, and does not believe a peer that
// was away meanwhile.
func TestDeleted_StaysSoAfterARestartWhereAnotherPeerIsBehind(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peers := h.Cluster(2, "crdt")
	here, behind := peers[0], peers[1]
	const pins = 5
	var all [pins]string
	for i := range pins {
		c := inline(t, fmt.Sprintf("to remove %d", i))
		here.Add(c, "before")
		all[i] = c.String()
		behind.WaitPinned(all[i])
	}
	behind.Stop()
	for _, c := range all {
		want(t, request(t, here, http.MethodDelete, "/pins/"+c, nil), http.StatusAccepted, "")
	}
	here.Kill()
	behind.Edit(func(c harness.Section) { // It does not hear of what it missed.
		c.Section("consensus", "crdt").Set("cluster_name", "another")
	})
	behind.Start()
	here.Start()
	other := inline(t, "of the peer that was away")
	behind.Add(other, "other")
	harness.Eventually(t, harness.Timeout, "the peers ask each other", func() error {
		_, err := here.Get(other.String())
		return err
	})
	for _, c := range all {
		want(t, request(t, here, http.MethodGet, "/pins/"+c, nil), http.StatusNotFound, "NOT_FOUND")
	}
	for _, c := range all {
		if pin, err := behind.Get(c); err != nil || pin.Pin.Name != "before" {
			t.Errorf("the peer that was away is not behind: %+v, %v", pin, err)
		}
	}
}

// endAfterAChangeElsewhere renames n pins at one peer each and removes or replaces them at another at
// once, as a client behind a balancer does. The change that comes to that peer later brings no pin back.
func endAfterAChangeElsewhere(t *testing.T, peers []*harness.Peer, n int) {
	t.Helper()
	const all = "status=queued,pinning,pinned,failed&limit=1&cid="
	var changed []cid.Cid
	for i := range n {
		changed = append(changed, inline(t, fmt.Sprintf("number %d to rename", i)))
		peers[i%3].Add(changed[i], "before")
	}
	for i, c := range changed {
		one, other := peers[i%3], peers[(i+1)%3]
		harness.Eventually(t, harness.CommandTimeout, other.Name+" knows the pin", func() error { _, err := other.Get(c.String()); return err })
		one.Add(c, "after")
		if i%2 == 0 {
			b := inline(t, fmt.Sprintf("number %d instead of a renamed one", i))
			want(t, request(t, other, http.MethodPost, "/pins/"+c.String(), map[string]string{"cid": b.String()}), http.StatusAccepted, "")
			continue
		}
		want(t, request(t, other, http.MethodDelete, "/pins/"+c.String(), nil), http.StatusAccepted, "")
	}
	for i, p := range peers {
		last := inline(t, fmt.Sprintf("the last pin of peer %d", i))
		p.Add(last, "last")
		for _, other := range peers {
			harness.Eventually(t, harness.CommandTimeout, other.Name+" has all changes of "+p.Name, func() error {
				page, err := other.List(all + last.String())
				if err == nil && page.Count != 1 {
					err = errors.New("it does not have the last")
				}
				return err
			})
		}
	}
	// Of a CRDT the newest changes come first, and those before them a moment later.
	for _, p := range peers {
		for i, c := range changed {
			harness.Eventually(t, harness.Timeout, fmt.Sprintf("%s has not pin %d, which was renamed and then ended at another peer", p.Name, i), func() error {
				page, err := p.List(all + c.String())
				if err == nil && page.Count != 0 {
					err = fmt.Errorf("%+v", page.Results)
				}
				return err
			})
		}
	}
}
