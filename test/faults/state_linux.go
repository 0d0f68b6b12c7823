package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// names are the names of peers by their IDs.
func names(nodes []*node) (map[string]string, error) {
	all := map[string]string{}
	for _, n := range nodes {
		id, err := n.id()
		if err != nil {
			return nil, err
		}
		all[id] = n.name
	}
	return all, nil
}

// allocations reads the shared state of a peer by the cluster's REST API: the peers that each pin is for, by name
// where there is one. twice tells of content that is in the state twice.
func (n *node) allocations(ctx context.Context, who Credentials, names map[string]string) (all map[string][]string, twice []string, err error) {
	body, err := n.rest(ctx, who, "/allocations?filter=all")
	if err != nil {
		return nil, nil, err
	}
	all = map[string][]string{}
	for lines := json.NewDecoder(bytes.NewReader(body)); ; {
		var line struct {
			CID         string   `json:"cid"`
			Allocations []string `json:"allocations"`
		}
		if err := lines.Decode(&line); errors.Is(err, io.EOF) {
			return all, twice, nil
		} else if err != nil {
			return nil, nil, fmt.Errorf("%s: the shared state: %w", n.name, err)
		}
		for i, id := range line.Allocations {
			if name, ok := names[id]; ok {
				line.Allocations[i] = name
			}
		}
		slices.Sort(line.Allocations)
		c := canonical(line.CID)
		if _, ok := all[c]; ok {
			twice = append(twice, fmt.Sprintf("%s twice in its state", c))
		}
		all[c] = line.Allocations
	}
}

// hears is nil when the peer has heard of each peer not long ago, so that it asks them.
func (n *node) hears(ctx context.Context, who Credentials, names map[string]string) error {
	body, err := n.rest(ctx, who, "/monitor/metrics/ping")
	if err != nil {
		return err
	}
	var pings []struct {
		Peer string `json:"peer"`
	}
	if err := json.Unmarshal(body, &pings); err != nil {
		return fmt.Errorf("%s: the metrics: %w", n.name, err)
	}
	heard := map[string]bool{}
	for _, p := range pings {
		heard[names[p.Peer]] = true
	}
	for _, name := range names {
		if !heard[name] {
			return fmt.Errorf("%s does not hear of %s", n.name, name)
		}
	}
	return nil
}

// rest asks the cluster's REST API of a peer.
func (n *node) rest(ctx context.Context, who Credentials, path string) ([]byte, error) {
	a := askPort(ctx, n, restPort, who, time.Now(), http.MethodGet, path, nil)
	if a.err != nil {
		return nil, fmt.Errorf("%s: GET %s: %w", n.name, path, a.err)
	}
	if a.code != http.StatusOK && a.code != http.StatusNoContent {
		return nil, fmt.Errorf("%s: GET %s: %d %s", n.name, path, a.code, a.body)
	}
	return a.body, nil
}

// acquainted waits until all peers hear of each other. With agree that ends the time after a fault in which they may not
// know what others accepted.
func (r *runner) acquainted(ctx context.Context) {
	known, err := names(r.nodes)
	for _, n := range r.nodes {
		if err == nil {
			err = eventually(ctx, graceAfterFault, func() error { return n.hears(ctx, r.workload.clients[0].who, known) })
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			r.problems.add(Recovery, "after healing: %v", err)
		}
		return
	}
	r.troubles.over()
}
