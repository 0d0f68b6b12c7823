package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

func parseAddr(text string) (multiaddr.Multiaddr, error) {
	addr, err := multiaddr.NewMultiaddr(text)
	if err != nil || len(addr) == 0 {
		return nil, fmt.Errorf("%q is not a multiaddress such as /ip4/127.0.0.1/tcp/9097", text)
	}
	return addr, nil
}

func parseID(text string) (peer.ID, error) {
	id, err := peer.Decode(text)
	if err != nil {
		return "", fmt.Errorf("%q is not a peer ID", text)
	}
	return id, nil
}

func formatID(id peer.ID) (string, error) {
	if id == "" {
		return "", nil
	}
	return id.String(), nil
}

// parsePrivateKey never puts anything of the text, nor an error that might
// quote it, into an error.
func parsePrivateKey(text string) (crypto.PrivKey, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("is not base64")
	}
	key, err := crypto.UnmarshalPrivateKey(raw)
	if err != nil {
		return nil, errors.New("is not a libp2p private key")
	}
	return key, nil
}

func formatPrivateKey(key crypto.PrivKey) (string, error) {
	if key == nil {
		return "", nil
	}
	raw, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return "", errors.New("cannot be encoded")
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}

// parseNetwork reads a network, or an IP address, which is a network of one.
func parseNetwork(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if err == nil {
		return network, nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is not an IP address or a network such as 10.0.0.0/8", text)
	}
	return addr.Prefix(addr.BitLen())
}

// formatNetwork writes a network of one address as this address.
func formatNetwork(network netip.Prefix) string {
	if network.IsSingleIP() {
		return network.Addr().String()
	}
	return network.String()
}
