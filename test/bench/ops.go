package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// op is one thing that is measured. next is the request of a subject's turn,
// and may be called by many goroutines at once; ok is false when there is
// nothing left to do.
type op struct {
	name string
	next func(subject string) (r request, ok bool)
	// results is how many pins a list of ours has to show, zero for what is
	// no list.
	results int
	// sustained: what a request costs ours depends on what was requested before, for as long as a
	// status counts as confirmed, so that its throughput is measured for longer.
	sustained bool
}

// always is the same request every time.
func always(path string) func(string) (request, bool) {
	return func(string) (request, bool) { return request{path: path}, true }
}

// over requests a pin of n, each as likely as the others.
func over(n int, path func(i int) string) func(string) (request, bool) {
	return func(string) (request, bool) { return request{path: path(rand.IntN(n))}, true }
}

// ops are all that are measured over n pins, in the order of measuring: those
// that change the pinset come last, and delete what they added.
func (b *bench) ops(n int) []op {
	page := min(10, n)
	half := pinCreated(n / 2).Format("2006-01-02T15:04:05.000Z")
	w := newWriter()
	return []op{
		{name: "list_first", next: always("/pins?status=pinned&limit=10"), results: page},
		{name: "list_middle", next: always("/pins?status=pinned&limit=10&before=" + half), results: page},
		{name: "list_1000", next: always("/pins?status=pinned&limit=1000"), results: min(1000, n)},
		{name: "list_1000_plain", next: always("/pins?status=pinned&limit=1000&before=" + pinCreated(plainPins(n)).Format("2006-01-02T15:04:05.000Z")), results: plainPins(n)},
		{name: "list_status", next: always("/pins?status=queued,pinning"), results: 10},
		{name: "list_name", next: over(n, func(i int) string { return "/pins?name=" + pinName(i) }), results: 1},
		{name: "list_name_partial", next: always("/pins?match=partial&name=" + namePart), results: min(10, namesWithPart(n))},
		{name: "list_meta", next: always("/pins?meta=" + url.QueryEscape(`{"album":"`+metaValue(n, 0)+`"}`)), results: page},
		{name: "count", next: always("/pins?limit=1&status=queued,pinning,pinned,failed"), results: 1},
		{name: "list_cid", next: over(n, func(i int) string { return "/pins?cid=" + pinCID(seriesSeeded, i).String() }), results: 1},
		{name: "get_pinned", next: over(n, func(i int) string { return "/pins/" + pinCID(seriesSeeded, i).String() }), sustained: true},
		{name: "get_inflight", next: over(heldPins, func(i int) string { return "/pins/" + pinCID(seriesHeld, i).String() })},
		{name: "post", next: w.post},
		{name: "delete", next: w.delete},
	}
}

// writer makes new pins, a series for each subject, and deletes them again.
type writer struct {
	series          map[string]int
	posted, deleted map[string]*atomic.Int64
}

func newWriter() *writer {
	w := &writer{
		series: map[string]int{ours: seriesOurs, theirs: seriesUpstream, theLimit: seriesLimit},
		posted: make(map[string]*atomic.Int64), deleted: make(map[string]*atomic.Int64),
	}
	for subject := range w.series {
		w.posted[subject], w.deleted[subject] = new(atomic.Int64), new(atomic.Int64)
	}
	return w
}

func (w *writer) post(subject string) (request, bool) {
	i := int(w.posted[subject].Add(1)) - 1
	return postRequest(pinCID(w.series[subject], i), i), true
}

func (w *writer) delete(subject string) (request, bool) {
	i := int(w.deleted[subject].Add(1)) - 1
	c := pinCID(w.series[subject], i)
	return request{method: http.MethodDelete, path: "/pins/" + c.String()}, i < int(w.posted[subject].Load())
}

func postRequest(c cid.Cid, i int) request {
	return request{
		method: http.MethodPost,
		path:   "/pins",
		body:   fmt.Sprintf(`{"cid":%q,"name":%q,"meta":{"album":"new"},"origins":[%s]}`, c, pinName(i), clientOriginsJSON()[i/pinsInARow%clients]),
	}
}

// clientOriginsJSON are clientOrigins as a client sends them.
var clientOriginsJSON = sync.OnceValue(func() []string {
	all := make([]string, clients)
	for client, origins := range originsOfClients() {
		all[client] = quoted(origins)
	}
	return all
})

func quoted(origins []api.Multiaddr) string {
	texts := make([]string, len(origins))
	for i, origin := range origins {
		texts[i] = strconv.Quote(origin.String())
	}
	return strings.Join(texts, ",")
}

// holdPins makes the pins that stay in flight, by way of a subject.
func (b *bench) holdPins(ctx context.Context, subject string) error {
	for i := range heldPins {
		c := pinCID(seriesHeld, i)
		b.peer.Node.Hold(c)
		if _, err := b.client.do(ctx, b.urls[subject], postRequest(c, i), new(bytes.Buffer)); err != nil {
			return err
		}
	}
	if subject != ours {
		return nil
	}
	return poll(ctx, "the held pins are in flight", func() error {
		return b.shows(ctx, request{path: "/pins?status=queued,pinning&limit=1000"}, heldPins)
	})
}

// shows fails unless a list of ours has that many results.
func (b *bench) shows(ctx context.Context, r request, want int) error {
	got, err := b.client.fetch(ctx, b.urls[ours], r)
	if err != nil {
		return err
	}
	var list pinsvc.PinResults
	if err := json.Unmarshal(got.body, &list); err != nil {
		return fmt.Errorf("%s: %w: %.200s", r.path, err, got.body)
	}
	if len(list.Results) != want {
		return fmt.Errorf("%s: %d results of %d, want %d", r.path, len(list.Results), list.Count, want)
	}
	return nil
}

// prepare checks that ours responds correctly to an operation, and lets
// the bare handler reply with the same bytes. Of what changes the pinset the
// first is done for that.
func (b *bench) prepare(ctx context.Context, o op) error {
	r, ok := o.next(ours)
	if !ok {
		return fmt.Errorf("%s: nothing to do", o.name)
	}
	if o.results > 0 {
		// A list may have to wait for what the peer is still finding out.
		patient, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		err := poll(patient, o.name+" is answered in the right way", func() error { return b.shows(patient, r, o.results) })
		if err != nil {
			return err
		}
	}
	got, err := b.client.fetch(ctx, b.urls[ours], r)
	if err != nil {
		return err
	}
	if got.status/100 != 2 {
		return fmt.Errorf("%s: %d: %.200s", o.name, got.status, got.body)
	}
	b.limit.reply.Store(&got)
	return nil
}
