package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/multiformats/go-multiaddr"
	"github.com/urfave/cli"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
)

// initFlags are the flags that "init" and "daemon --init" share.
func initFlags() []cli.Flag {
	return []cli.Flag{
		cli.StringFlag{
			Name:  "consensus",
			Usage: "select consensus: 'crdt' or 'raft'",
			Value: "crdt",
		},
		cli.StringFlag{
			Name:  "datastore",
			Usage: "select datastore: 'badger', 'badger3', 'leveldb' or 'pebble'",
			Value: "pebble",
		},
		cli.StringFlag{
			Name:  "peers",
			Usage: "comma-separated list of multiaddresses to init with (see help)",
		},
		cli.BoolFlag{
			Name:  "randomports",
			Usage: "configure random ports to listen on instead of defaults",
		},
		cli.StringFlag{
			Name:  "profile",
			Usage: "'default' joins the public IPFS network, 'private' stays on this machine",
		},
		cli.StringSliceFlag{
			Name:  "user",
			Usage: "add user `NAME` of the Pinning Service API with a random password (repeatable)",
		},
		cli.StringFlag{
			Name:  "ipfs",
			Usage: "use the IPFS node with the RPC at `MULTIADDRESS`, or 'managed': run one (default: managed)",
		},
	}
}

func (p *program) initCommand() cli.Command {
	return cli.Command{
		Name:        "init",
		Usage:       "Creates a configuration and generates an identity",
		Description: initDescription,
		ArgsUsage:   "[http-source-url]",
		Flags: append(initFlags(),
			cli.BoolFlag{
				Name:  "custom-secret, s",
				Usage: "prompt for the cluster secret (when no source specified)",
			},
			cli.BoolFlag{
				Name:  "force, f",
				Usage: "overwrite configuration without prompting",
			},
		),
		Action: p.init,
	}
}

const initDescription = `
Writes a new service.json and, if there is none yet, an identity.json into
the configuration folder, readable by their owner only.

With a source URL the configuration only names it: the daemon fetches the
real one from there at each start.

The peers of a cluster share a secret. A new one is made, unless
--custom-secret prompts for it or CLUSTER_SECRET or CLUSTER_SECRET_FILE sets
it. All other CLUSTER_ environment variables are written to service.json too.

An existing configuration is only overwritten with --force or after a yes;
an existing identity never. To get a new one, remove identity.json and clean
the state of Raft.

--peers fills the peerstore file, and the "trusted_peers" (crdt) or
"init_peerset" (raft) of the consensus section.

The peer runs an IPFS node (Kubo) of its own, with its repo in the
configuration folder. To use one that runs already, give the address of its
RPC, usually --ipfs /ip4/127.0.0.1/tcp/5001, or set
CLUSTER_IPFSHTTP_NODEMULTIADDRESS.

--user adds a user of the Pinning Service API, with a random password that is
written to service.json and never printed. Without any user, everyone on this
machine may add and delete pins, as with ipfs-cluster-service.

The private profile listens on loopback only, without discovery and port
mapping.
`

func (p *program) init(c *cli.Context) error {
	opts, err := initOptions(c)
	if err != nil {
		return err
	}
	opts.Source = c.Args().First()
	lock, err := peer.Lock(p.files)
	if err != nil {
		return err
	}
	defer lock.Close()
	exists, err := peer.Initialized(p.files)
	if err != nil {
		return err
	}
	if exists && !forced(c) {
		yes, err := p.confirm("The configuration file will be overwritten. Continue?")
		if err != nil || !yes {
			return err
		}
	}
	opts.Overwrite = exists || forced(c)
	if c.Bool("custom-secret") && opts.Source == "" {
		if opts.Secret, err = p.promptSecret(); err != nil {
			return err
		}
	}
	done, err := peer.Init(p.files, opts)
	if err != nil {
		return err
	}
	p.reportInit(done)
	p.reportUsers(done.Users)
	return nil
}

func initOptions(c *cli.Context) (peer.InitOptions, error) {
	opts := peer.InitOptions{
		Consensus:   c.String("consensus"),
		Datastore:   c.String("datastore"),
		RandomPorts: c.Bool("randomports"),
		Profile:     peer.Profile(c.String("profile")),
		Users:       c.StringSlice("user"),
	}
	var err error
	if opts.Peers, err = parseAddresses("--peers", c.String("peers")); err != nil {
		return opts, err
	}
	if text := c.String("ipfs"); text != "" && text != "managed" {
		if opts.IPFS, err = multiaddr.NewMultiaddr(text); err != nil {
			return opts, fmt.Errorf("reading --ipfs: %w (it wants the address of an IPFS node's RPC, such as "+
				"/ip4/127.0.0.1/tcp/5001, or 'managed')", err)
		}
	}
	return opts, nil
}

// parseAddresses reads a comma-separated list, "" being the empty one.
func parseAddresses(flag, list string) ([]multiaddr.Multiaddr, error) {
	var addrs []multiaddr.Multiaddr
	if list == "" {
		return nil, nil
	}
	for text := range strings.SplitSeq(list, ",") {
		addr, err := multiaddr.NewMultiaddr(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("reading %s: peer multiaddress %q: %w", flag, text, err)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// promptSecret returns 32 bytes, or an empty secret, which is an open cluster,
// for an empty line.
func (p *program) promptSecret() ([]byte, error) {
	fmt.Fprint(p.out, "Enter cluster secret (32-byte hex string): ")
	text, err := p.readLine()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("reading the cluster secret: there was none on standard input")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the cluster secret: %w", err)
	}
	secret, err := hex.DecodeString(text)
	if err != nil || (len(secret) != 0 && len(secret) != 32) {
		return nil, errors.New("parsing user-provided secret: it must be 64 hexadecimal digits (32 bytes)")
	}
	return secret, nil
}

// reportInit prints what was written, in the words of ipfs-cluster-service.
func (p *program) reportInit(done peer.InitResult) {
	for _, sentence := range peer.UnknownVariables() {
		p.notice("warning: %s", sentence)
	}
	p.notice("configuration written to %s.", p.files.Config)
	if done.NewIdentity {
		p.notice("new identity written to %s", p.files.Identity)
	}
	if done.PeerstoreEntries > 0 {
		p.notice("peerstore written to %s with %d entries.", done.Peerstore, done.PeerstoreEntries)
	} else {
		p.notice("new empty peerstore written to %s.", done.Peerstore)
	}
	if done.IPFS != nil {
		p.notice("the IPFS node is the one at %s.", done.IPFS)
	}
	if done.Open {
		p.notice("the Pinning Service API has no users: everyone on this machine may use it (--user adds one).")
	}
}

// reportUsers prints where the passwords of new users are, not the passwords:
// standard output may be a log (journald, docker logs) that others can read.
func (p *program) reportUsers(users []peer.NewUser) {
	for _, user := range users {
		if user.FromEnvironment {
			p.print("User %s has the password that the environment sets.", user.Name)
			continue
		}
		p.print("User %s has a new password, written to %s (api.pinsvcapi.basic_auth_credentials).", user.Name, p.files.Config)
		p.print("To print a token for it: %s", p.tokenCommandLine(user.Name))
	}
}
