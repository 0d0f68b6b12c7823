package kubo

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/multiformats/go-multiaddr"
)

// firstEmbedded is the oldest version of a repo whose migrations are built into
// Kubo. For older ones Kubo would download and run programs.
const firstEmbedded = 16

// prepare makes, migrates and configures the repo for a start of Kubo, and
// returns the address for its RPC.
func (n *Node) prepare(ctx context.Context, program string) (multiaddr.Multiaddr, error) {
	if err := endOrphan(ctx, n.repo, n.cfg.StopTimeout); err != nil {
		return nil, err
	}
	if err := refuseLocked(n.repo); err != nil {
		return nil, err
	}
	err := ensureRepo(ctx, n.repo, func(ctx context.Context, dir string) error {
		n.begin("making an IPFS repo at %s", n.repo)
		return n.makeRepo(ctx, program, dir)
	})
	if err != nil {
		return nil, err
	}
	// Kubo's own error about an invalid configuration does not name the file.
	if _, err := n.readConfig(); err != nil {
		return nil, err
	}
	if err := n.migrateRepo(ctx, program); err != nil {
		return nil, err
	}
	return n.configure()
}

// makeRepo runs "ipfs init" on dir and replaces Kubo's default addresses of RPC
// and gateway, which the operator did not choose.
func (n *Node) makeRepo(ctx context.Context, program, dir string) error {
	_, err := n.runTool(ctx, newTool(program, dir, initTimeout, "init", "--empty-repo"),
		fmt.Sprintf("making an IPFS repo at %s", n.repo))
	if err != nil {
		return fmt.Errorf("the IPFS repo at %s cannot be made: %w", n.repo, err)
	}
	path := filepath.Join(dir, configFile)
	doc, err := readDocument(path)
	if err != nil {
		return err
	}
	doc.set("Addresses.API", anyRPC)
	doc.set("Addresses.Gateway", []string{})
	return writeJSON(path, doc)
}

// migrateRepo migrates a repo that is older than the program, without using the
// network, and refuses one that is newer.
func (n *Node) migrateRepo(ctx context.Context, program string) error {
	have, err := repoVersion(n.repo)
	if err != nil {
		return err
	}
	out, err := n.runTool(ctx, newTool(program, n.repo, versionTimeout, "version", "--repo"),
		"reading the repo version that "+program+" uses")
	if err != nil {
		return err
	}
	want, err := strconv.Atoi(strings.TrimSpace(out))
	switch {
	case err != nil:
		return fmt.Errorf("%s is not Kubo: its \"version --repo\" prints %q", program, out)
	case have == want:
		return nil
	case have > want:
		return fmt.Errorf("the IPFS repo at %s has version %d, but %s can only use version %d: "+
			"set ipfs_connector.managed.binary_path to a newer Kubo", n.repo, have, program, want)
	case have < firstEmbedded:
		return fmt.Errorf("the IPFS repo at %s has version %d, which %s can only migrate with programs from the "+
			"network: run \"ipfs-cluster-pinsvc ipfs repo migrate\" to allow that", n.repo, have, program)
	}
	doing := fmt.Sprintf("migrating the IPFS repo at %s from version %d to %d", n.repo, have, want)
	logger.Info(doing)
	if _, err := n.runTool(ctx, newTool(program, n.repo, migrateTimeout, "repo", "migrate"), doing); err != nil {
		return fmt.Errorf("the IPFS repo at %s cannot be migrated from version %d to %d: %w", n.repo, have, want, err)
	}
	return nil
}

// configure applies the settings of service.json to Kubo's configuration and
// returns the address for its RPC.
func (n *Node) configure() (multiaddr.Multiaddr, error) {
	doc, err := n.readConfig()
	if err != nil {
		return nil, err
	}
	applied, err := readOverlay(n.repo)
	if err != nil {
		return nil, err
	}
	before := maps.Clone(applied.Settings)
	changes := append(applied.lay(doc, wantedSettings(n.cfg, n.repo)), enforceRPC(doc)...)
	moved, err := n.freeSwarm(doc)
	if err != nil {
		return nil, err
	}
	// The configuration first: a setting that is listed as applied is not
	// applied again.
	if changes = append(changes, moved...); len(changes) > 0 {
		if err := writeJSON(filepath.Join(n.repo, configFile), doc); err != nil {
			return nil, fmt.Errorf("the configuration of Kubo cannot be written: %w", err)
		}
	}
	if !reflect.DeepEqual(before, applied.Settings) {
		if err := writeJSON(filepath.Join(n.repo, overlayFile), applied); err != nil {
			return nil, fmt.Errorf("%s cannot be written: %w", overlayFile, err)
		}
	}
	news, details := summarizeChanges(changes, len(before) == 0)
	for _, line := range news {
		logger.Info(line)
	}
	for _, line := range details {
		logger.Debug(line)
	}
	return n.chooseRPC(doc)
}

func (n *Node) readConfig() (document, error) {
	doc, err := readDocument(filepath.Join(n.repo, configFile))
	if err != nil {
		return nil, fmt.Errorf("the configuration of Kubo cannot be read: %w", err)
	}
	return doc, nil
}

// summarizeChanges describes the changes of Kubo's configuration, as news for the
// operator and as details for debugging. In a fresh repo, whose settings are
// Kubo's defaults, the single changes are details.
func summarizeChanges(changes []change, fresh bool) (news, details []string) {
	for _, c := range changes {
		news = append(news, fmt.Sprintf("Kubo's setting %s was %s and is now %s", c.key, show(c.from), show(c.to)))
	}
	if !fresh || len(changes) < 2 {
		return news, nil
	}
	return []string{fmt.Sprintf("%d of Kubo's settings were set for ipfs_connector.managed", len(changes))}, news
}

func show(v any) string {
	raw, err := json.Marshal(v)
	if err != nil || v == nil {
		return "not set"
	}
	return string(raw)
}

// freeSwarm replaces the swarm ports that another program holds, unless the
// configuration sets them.
func (n *Node) freeSwarm(doc document) ([]change, error) {
	const key = "Addresses.Swarm"
	addrs := stringList(doc.get(key))
	taken := takenPorts(addrs)
	if len(taken) == 0 {
		return nil, nil
	}
	for port := range taken {
		if len(n.cfg.SwarmAddresses) > 0 {
			return nil, fmt.Errorf("the swarm port %d is in use by another program: stop that program, "+
				"or change ipfs_connector.managed.swarm_addresses", port)
		}
		logger.Warnf("the swarm port %d is in use by another program; Kubo takes another one "+
			"(ipfs_connector.managed.swarm_addresses sets it)", port)
	}
	moved, err := movePorts(addrs, taken)
	if err != nil {
		return nil, err
	}
	from := doc.get(key)
	doc.set(key, plain(moved))
	return []change{{key, from, doc.get(key)}}, nil
}

// chooseRPC returns the RPC's previous address, so that it stays the same, or the
// operator's. A port that another program holds is not used.
func (n *Node) chooseRPC(doc document) (multiaddr.Multiaddr, error) {
	wanted := stringList(doc.get("Addresses.API"))
	if last := n.Status().APIAddr; last != nil {
		wanted = []string{last.String()}
	}
	for port := range takenPorts(wanted) {
		logger.Warnf("the port %d of Kubo's RPC is in use by another program; Kubo takes another one", port)
		wanted = []string{anyRPC}
	}
	return multiaddr.NewMultiaddr(wanted[0])
}
