package kubo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/multiformats/go-multiaddr"
)

// firstEmbedded is the oldest version of a repo from which Kubo has the
// migrations in itself. For older ones it would download and run programs.
const firstEmbedded = 16

// prepare brings the repo into the state that Kubo is to start from, and
// returns the address for its RPC.
func (n *Node) prepare(ctx context.Context, program string) (multiaddr.Multiaddr, error) {
	if err := endOrphan(ctx, n.repo, n.cfg.StopTimeout); err != nil {
		return nil, err
	}
	if err := refuseLocked(n.repo); err != nil {
		return nil, err
	}
	err := ensureRepo(ctx, n.repo, func(ctx context.Context, dir string) error {
		n.doing("making an IPFS repo at %s", n.repo)
		return n.makeRepo(ctx, program, dir)
	})
	if err != nil {
		return nil, err
	}
	// Kubo's own words about a configuration that it cannot read are of no use.
	if _, err := n.readConfig(); err != nil {
		return nil, err
	}
	if err := n.matchVersions(ctx, program); err != nil {
		return nil, err
	}
	return n.configure()
}

// makeRepo has Kubo make a repo in dir. Kubo's own addresses of RPC and
// gateway, which the operator did not choose, are replaced at once.
func (n *Node) makeRepo(ctx context.Context, program, dir string) error {
	if _, err := n.tool(ctx, program, dir, "init", "--empty-repo"); err != nil {
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

// tool runs the program with args on the repo in dir and returns what it
// printed.
func (n *Node) tool(ctx context.Context, program, dir string, args ...string) (string, error) {
	n.output.clear()
	var stdout bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Env = environment(os.Environ(), n.cfg, dir)
	p, err := startProcess(cmd, io.MultiWriter(&stdout, n.output), n.output)
	if err != nil {
		return "", fmt.Errorf("%s cannot be run: %w", program, err)
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		n.end(ctx, p, nil)
		return "", ctx.Err()
	}
	if p.err != nil {
		return "", diagnose(n.repo, p.err, n.output.last())
	}
	return stdout.String(), nil
}

// matchVersions migrates a repo that is older than the program, which needs
// nothing but the program, and refuses one that is newer.
func (n *Node) matchVersions(ctx context.Context, program string) error {
	have, err := repoVersion(n.repo)
	if err != nil {
		return err
	}
	out, err := n.tool(ctx, program, n.repo, "version", "--repo")
	if err != nil {
		return err
	}
	want, err := strconv.Atoi(strings.TrimSpace(out))
	switch {
	case err != nil:
		return fmt.Errorf("%s is not Kubo: asked for the version of its repos it says %q", program, out)
	case have == want:
		return nil
	case have > want:
		return fmt.Errorf("the IPFS repo at %s has version %d, but %s can only use version %d: "+
			"set ipfs_connector.managed.binary_path to a newer Kubo", n.repo, have, program, want)
	case have < firstEmbedded:
		return fmt.Errorf("the IPFS repo at %s has version %d, which %s can only migrate with programs from the "+
			"network: run \"ipfs-cluster-pinsvc ipfs repo migrate\" to allow that", n.repo, have, program)
	}
	n.doing("migrating the IPFS repo at %s from version %d to %d", n.repo, have, want)
	if _, err := n.tool(ctx, program, n.repo, "repo", "migrate"); err != nil {
		return fmt.Errorf("the IPFS repo at %s cannot be migrated from version %d to %d: %w", n.repo, have, want, err)
	}
	return nil
}

// configure lays our settings over Kubo's configuration and returns the
// address for its RPC.
func (n *Node) configure() (multiaddr.Multiaddr, error) {
	doc, err := n.readConfig()
	if err != nil {
		return nil, err
	}
	memory, err := readOverlay(n.repo)
	if err != nil {
		return nil, err
	}
	before := maps.Clone(memory.Settings)
	changes := append(memory.lay(doc, wantedSettings(n.cfg, n.repo)), holdRPC(doc)...)
	moved, err := n.freeSwarm(doc)
	if err != nil {
		return nil, err
	}
	// The configuration first: a setting that is remembered but was not laid
	// would never be.
	if changes = append(changes, moved...); len(changes) > 0 {
		if err := writeJSON(filepath.Join(n.repo, configFile), doc); err != nil {
			return nil, fmt.Errorf("the configuration of Kubo cannot be written: %w", err)
		}
	}
	if !reflect.DeepEqual(before, memory.Settings) {
		if err := writeJSON(filepath.Join(n.repo, overlayFile), memory); err != nil {
			return nil, fmt.Errorf("%s cannot be written: %w", overlayFile, err)
		}
	}
	news, details := worthTelling(changes, len(before) == 0)
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

// worthTelling says what was changed in Kubo's configuration: to the operator,
// and in more detail. Of a fresh repo, whose settings are Kubo's defaults, the
// single changes are no news.
func worthTelling(changes []change, fresh bool) (news, details []string) {
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

// freeSwarm moves the swarm ports that another program holds, unless they were
// chosen on purpose.
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

// chooseRPC returns the address that the RPC had before, so that those who
// know it need not learn another, or the operator's; a port that another
// program has taken since is left to it.
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
