package kubo

import (
	"strings"
	"time"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// privateSwarm is where a private node listens unless swarm_addresses is set.
var privateSwarm = [...]string{"/ip4/127.0.0.1/tcp/0"}

// notLoopback4 and notLoopback6 cover every address outside of this machine, in
// the form of Kubo's Swarm.AddrFilters.
var (
	notLoopback4 = [...]string{
		"/ip4/0.0.0.0/ipcidr/2", "/ip4/64.0.0.0/ipcidr/3", "/ip4/96.0.0.0/ipcidr/4",
		"/ip4/112.0.0.0/ipcidr/5", "/ip4/120.0.0.0/ipcidr/6", "/ip4/124.0.0.0/ipcidr/7",
		"/ip4/126.0.0.0/ipcidr/8", "/ip4/128.0.0.0/ipcidr/1",
	}
	// Of ::/8, which contains ::1, only the networks that lead to other
	// machines; IPv4 addresses in IPv6 form are filtered as IPv4.
	notLoopback6 = [...]string{
		"/ip6/64:ff9b::/ipcidr/96", "/ip6/64:ff9b:1::/ipcidr/48",
		"/ip6/100::/ipcidr/8", "/ip6/200::/ipcidr/7", "/ip6/400::/ipcidr/6", "/ip6/800::/ipcidr/5",
		"/ip6/1000::/ipcidr/4", "/ip6/2000::/ipcidr/3", "/ip6/4000::/ipcidr/2", "/ip6/8000::/ipcidr/1",
	}
)

// wantedSettings are the settings that cfg requires in Kubo's configuration.
func wantedSettings(cfg *Config, repo string) []setting {
	var wanted []setting
	if cfg.Profile == ProfilePrivate {
		wanted = privateSettings(cfg.SwarmAddresses)
	}
	if len(cfg.SwarmAddresses) > 0 {
		wanted = append(wanted, setting{"Addresses.Swarm", cfg.SwarmAddresses})
	}
	// Validate has checked the value.
	if limit, err := parseStorageMax(cfg.StorageMax); err == nil {
		if size, ok := limit.resolve(repo); ok {
			wanted = append(wanted, setting{"Datastore.StorageMax", size})
		}
	}
	if cfg.EnableGC {
		wanted = append(wanted, setting{"Datastore.GCPeriod", short(cfg.GCInterval)})
	}
	return wanted
}

// short writes 1h0m0s as Kubo does, 1h.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// privateSettings disable everything that makes Kubo contact other machines by
// itself. While it listens on loopback only, it may dial loopback only; with
// other addresses, those of a closed network, it may dial any address.
func privateSettings(swarm []string) []setting {
	wanted := []setting{
		{"Bootstrap", []string{}},
		{"Routing.Type", "none"},
		{"Routing.DelegatedRouters", []string{}},
		{"Ipns.DelegatedPublishers", []string{}},
		{"AutoConf.Enabled", false},
		{"DNS.Resolvers", map[string]string{}},
		{"Provide.Enabled", false},
		{"HTTPRetrieval.Enabled", false},
		{"Version.SwarmCheckEnabled", false},
		{"Discovery.MDNS.Enabled", false},
		{"AutoTLS.Enabled", false},
		{"AutoNAT.ServiceMode", "disabled"},
		{"Swarm.DisableNatPortMap", true},
		{"Swarm.EnableHolePunching", false},
		{"Swarm.RelayClient.Enabled", false},
		{"Swarm.RelayService.Enabled", false},
	}
	if len(swarm) == 0 {
		wanted = append(wanted, setting{"Addresses.Swarm", privateSwarm[:]})
	}
	if allLoopback(swarm) {
		filters := append(append([]string{}, notLoopback4[:]...), notLoopback6[:]...)
		wanted = append(wanted, setting{"Swarm.AddrFilters", filters})
	}
	return wanted
}

// allLoopback reports whether every address is on loopback; an invalid address
// is not.
func allLoopback(addrs []string) bool {
	for _, text := range addrs {
		addr, err := multiaddr.NewMultiaddr(text)
		if err != nil || !manet.IsIPLoopback(addr) {
			return false
		}
	}
	return true
}

// enforceRPC sets what the peer relies on: the RPC, which controls the node,
// listens on loopback only, and there is no gateway.
func enforceRPC(doc document) []change {
	var changes []change
	set := func(key string, value any) {
		changes = append(changes, change{key, doc.get(key), value})
		doc.set(key, value)
	}
	if addrs := stringList(doc.get("Addresses.API")); len(addrs) != 1 || !isLoopbackTCP(addrs[0]) {
		set("Addresses.API", plain(anyRPC))
	}
	if len(stringList(doc.get("Addresses.Gateway"))) > 0 {
		set("Addresses.Gateway", []any{})
	}
	return changes
}

// anyRPC leaves the port of the RPC to the system.
const anyRPC = "/ip4/127.0.0.1/tcp/0"

func isLoopbackTCP(text string) bool {
	addr, err := multiaddr.NewMultiaddr(text)
	if err != nil || !manet.IsIPLoopback(addr) || !manet.IsThinWaist(addr) {
		return false
	}
	_, err = addr.ValueForProtocol(multiaddr.P_TCP)
	return err == nil
}

// stringList reads a value that may be one string or a list of strings.
func stringList(value any) []string {
	switch value := value.(type) {
	case string:
		return []string{value}
	case []any:
		var list []string
		for _, item := range value {
			if s, ok := item.(string); ok {
				list = append(list, s)
			}
		}
		return list
	default:
		return nil
	}
}
