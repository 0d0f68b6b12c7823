package origins

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

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Kubo is the Swarm of a Kubo node, reached over its RPC.
//
// Upstream's connector has no request for it: ConnectSwarms knows only the
// nodes of other peers of the cluster.
type Kubo struct {
	addr   func() (multiaddr.Multiaddr, error)
	client *http.Client
}

// NewKubo returns the swarm of the node whose RPC is at addr, which is called
// before each request: the address of a managed node changes.
func NewKubo(addr func() (multiaddr.Multiaddr, error)) *Kubo {
	k := &Kubo{addr: addr}
	const kept = 16
	k.client = &http.Client{Transport: &http.Transport{
		DialContext:         k.dial,
		MaxIdleConnsPerHost: kept,
		IdleConnTimeout:     30 * time.Second,
	}}
	return k
}

// errAddress is Kubo's refusal of an address that it does not understand.
var errAddress = errors.New("the IPFS node does not understand an address")

// Connect implements Swarm. All addresses go into one request, which Kubo
// dials in parallel.
func (k *Kubo) Connect(ctx context.Context, to peer.AddrInfo) error {
	addrs, err := peer.AddrInfoToP2pAddrs(&to)
	if err != nil {
		return err
	}
	err = k.connect(ctx, addrs)
	if len(addrs) == 1 || !errors.Is(err, errAddress) {
		return err
	}
	// Kubo refuses all for one that is newer than itself.
	var failures []error
	for _, addr := range addrs {
		err := k.connect(ctx, []multiaddr.Multiaddr{addr})
		if err == nil {
			return nil
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// Close implements Swarm.
func (k *Kubo) Close() { k.client.CloseIdleConnections() }

func (k *Kubo) connect(ctx context.Context, addrs []multiaddr.Multiaddr) error {
	return post(ctx, k, "swarm/connect", addrs, nil)
}

// Peers implements Swarm.
func (k *Kubo) Peers(ctx context.Context) ([]peer.ID, error) {
	var reply struct{ Peers []peer.AddrInfo }
	if err := post[peer.ID](ctx, k, "swarm/peering/ls", nil, &reply); err != nil {
		return nil, err
	}
	ids := make([]peer.ID, len(reply.Peers))
	for i, node := range reply.Peers {
		ids[i] = node.ID
	}
	return ids, nil
}

// AddPeers implements Swarm. Kubo gets no addresses: Connect gives it those.
func (k *Kubo) AddPeers(ctx context.Context, nodes []peer.ID) error {
	addrs := make([]multiaddr.Multiaddr, len(nodes))
	for i, id := range nodes {
		addr, err := multiaddr.NewComponent("p2p", id.String())
		if err != nil {
			return err
		}
		addrs[i] = addr.Multiaddr()
	}
	return post(ctx, k, "swarm/peering/add", addrs, nil)
}

// RemovePeers implements Swarm.
func (k *Kubo) RemovePeers(ctx context.Context, nodes []peer.ID) error {
	return post(ctx, k, "swarm/peering/rm", nodes, nil)
}

// post calls a command of the RPC. The reply is not decoded if it is nil.
func post[T fmt.Stringer](ctx context.Context, k *Kubo, command string, list []T, reply any) error {
	base, err := k.base()
	if err != nil {
		return err
	}
	args := url.Values{}
	for _, arg := range list {
		args.Add("arg", arg.String())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/v0/"+command+"?"+args.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	const limit = 4 << 20
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return failure(command, resp.Status, body)
	case reply == nil:
		return nil
	default:
		return json.Unmarshal(body, reply)
	}
}

// failure is the error of a response that is not 200, if it is one.
func failure(command, status string, body []byte) error {
	var reply struct{ Message string }
	if json.Unmarshal(body, &reply) != nil || reply.Message == "" {
		return fmt.Errorf("%s: %s: %.200s", command, status, body)
	}
	message := strings.Join(strings.Fields(reply.Message), " ") // Kubo uses several lines.
	switch {
	case strings.HasPrefix(message, "failed to parse multiaddr"): // go-multiaddr's words.
		return fmt.Errorf("%w: %s", errAddress, message)
	case strings.Contains(message, "dial to self attempted"):
		return nil // The origin is the IPFS node itself.
	default:
		return fmt.Errorf("%s: %s", command, message)
	}
}

// unixHost stands for a Unix socket in URLs.
const unixHost = "unix-socket"

func (k *Kubo) base() (string, error) {
	network, host, err := k.dialArgs()
	if err != nil {
		return "", err
	}
	if network == "unix" {
		host = unixHost
	}
	return "http://" + host, nil
}

func (k *Kubo) dialArgs() (network, host string, err error) {
	addr, err := k.addr()
	if err != nil {
		return "", "", err
	}
	network, host, err = manet.DialArgs(addr)
	if err != nil {
		return "", "", fmt.Errorf("the address of the IPFS node's RPC: %w", err)
	}
	return network, host, nil
}

func (k *Kubo) dial(ctx context.Context, network, host string) (net.Conn, error) {
	if host == unixHost+":80" {
		var err error
		if network, host, err = k.dialArgs(); err != nil {
			return nil, err
		}
	}
	var d net.Dialer
	return d.DialContext(ctx, network, host)
}
