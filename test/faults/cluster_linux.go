package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// peers is how many peers a cluster has.
const peers = 3

// cluster is the peers, the provider and what joins them.
type cluster struct {
	settings
	network  *network
	nodes    []*node
	provider *provider
}

// settings are how peers are configured.
type settings struct {
	mode Mode
	// copies is how many peers keep a pin; 0: all.
	copies int
	users  map[string]string
	// peering is Kubo's Peering.Peers.
	peering string
}

// newCluster starts peers in new folders below folder and waits until all are
// ready.
func newCluster(ctx context.Context, s settings, folder string, p programs) (*cluster, error) {
	w, err := newNetwork(peers + 1)
	if err != nil {
		return nil, err
	}
	c := &cluster{settings: s, network: w}
	if c.provider, err = newProvider(ctx, w.ports[peers], folder, p.ipfs); err != nil {
		return c, err
	}
	c.peering = fmt.Sprintf(`[{"ID":%q,"Addrs":[%q]}]`, filepath.Base(c.provider.origin), c.provider.origin)
	const secret = "CLUSTER_SECRET=6661756c7473206661756c7473206661756c7473206661756c7473206661756c"
	for i := range peers {
		n, err := newNode(i, fmt.Sprintf("peer%d", i+1), w.ports[i], folder, p, secret)
		if err != nil {
			return c, err
		}
		c.nodes = append(c.nodes, n)
		if err := n.initialize(ctx, c.settings); err != nil {
			return c, err
		}
	}
	for _, n := range c.nodes {
		if err := errors.Join(c.introduce(n, true), n.start()); err != nil {
			return c, err
		}
	}
	return c, c.waitReady(ctx)
}

// introduce writes the addresses of the others into the configuration of a peer;
// as the first peers of a Raft cluster they are its peerset, too.
func (c *cluster) introduce(n *node, first bool) error {
	var addresses, ids []string
	for _, other := range c.nodes {
		id, err := other.id()
		if err != nil {
			return err
		}
		ids = append(ids, id)
		if other == n {
			continue
		}
		addr, err := other.clusterAddress()
		if err != nil {
			return err
		}
		addresses = append(addresses, addr)
	}
	return editJSON(filepath.Join(n.dir, "service.json"), func(o object) {
		o.at("cluster")["peer_addresses"] = addresses
		if c.mode == Raft && first {
			o.at("consensus", "raft")["init_peerset"] = ids
		}
	})
}

func (c *cluster) waitReady(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := eventually(ctx, readyTimeout, func() error { return n.ready(ctx) }); err != nil {
			return fmt.Errorf("%s is not ready: %w", n.name, err)
		}
	}
	return nil
}

// rejoin gives a peer an empty folder, as after a lost disk. Without its
// identity it is another peer.
func (c *cluster) rejoin(ctx context.Context, n *node, keepIdentity bool) error {
	n.action.Lock()
	defer n.action.Unlock()
	id, err := n.id()
	if err != nil {
		return err
	}
	if err := n.stop(); err != nil {
		return err
	}
	other := c.nodes[(n.index+1)%len(c.nodes)]
	if c.mode == Raft {
		if err := other.removePeer(ctx, id); err != nil {
			return err
		}
	}
	if err := n.wipe(keepIdentity); err != nil {
		return err
	}
	if err := n.initialize(ctx, c.settings); err != nil {
		return err
	}
	if err := c.introduce(n, false); err != nil {
		return err
	}
	addr, err := other.clusterAddress()
	if err != nil {
		return err
	}
	return n.start("--bootstrap", addr)
}

// removePeer removes a member, as ipfs-cluster-ctl does.
func (n *node) removePeer(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return eventually(ctx, time.Minute, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, n.url(restPort, "/peers/"+id), nil)
		if err != nil {
			return err
		}
		code, body, err := send(n.http, req)
		if err == nil && code >= 300 {
			err = fmt.Errorf("%s: removing a peer: %d %s", n.name, code, body)
		}
		return err
	})
}

// close ends everything, in good order where it runs.
// With a folder for evidence, the folders of the peers are kept there without the IPFS repos.
func (c *cluster) close(evidence string) error {
	var all []error
	for _, n := range c.nodes {
		if n.running() {
			all = append(all, n.stop())
		}
		if evidence != "" {
			all = append(all, n.keepFolder(filepath.Join(evidence, n.name+".folder")))
		}
	}
	all = append(all, c.network.close())
	for _, n := range c.nodes {
		all = append(all, n.repo.unmount(), n.store.unmount())
	}
	return errors.Join(all...)
}

// logs are the files that the daemons write.
func (c *cluster) logs() []string {
	var files []string
	for _, n := range c.nodes {
		if _, err := os.Stat(n.logFile); err == nil {
			files = append(files, n.logFile)
		}
	}
	return files
}
