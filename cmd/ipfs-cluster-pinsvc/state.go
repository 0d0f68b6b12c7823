package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/urfave/cli"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/atomicfile"
)

func (p *program) stateCommand() cli.Command {
	return cli.Command{
		Name:  "state",
		Usage: "Manages the peer's persistent state (pinset)",
		Subcommands: []cli.Command{
			p.stateCRDTCommand(),
			{
				Name:  "export",
				Usage: "save the state to a JSON file",
				Description: `
Writes the pinset of a stopped peer as JSON, one pin per line, to standard
output or a file: a backup, or what another peer or ipfs-cluster-service can
import.
`,
				Flags:  []cli.Flag{outputFlag()},
				Action: p.stateExport,
			},
			{
				Name:  "import",
				Usage: "load the state from a file produced by 'export'",
				Description: `
Replaces the pinset of a stopped peer by an exported one, read from the file
given as argument, else from standard input. All of it is checked before the
present pinset is changed.
`,
				ArgsUsage: "[file]",
				Flags: []cli.Flag{
					cli.BoolFlag{
						Name:  "force, f",
						Usage: "skips confirmation prompt",
					},
					cli.IntFlag{
						Name:  "replication-min, rmin",
						Usage: "Overwrite replication-factor-min for all pins on import",
					},
					cli.IntFlag{
						Name:  "replication-max, rmax",
						Usage: "Overwrite replication-factor-max for all pins on import",
					},
					cli.StringFlag{
						Name:  "allocations, allocs",
						Usage: "Overwrite allocations for all pins on import. Comma-separated list of peer IDs",
					},
				},
				Action: p.stateImport,
			},
			{
				Name:  "cleanup",
				Usage: "remove persistent data",
				Description: `
Removes the pinset and all else that consensus keeps of a stopped peer. It
then starts like a new one, and gets the pinset from the other peers if there
are any. What the IPFS node holds stays.
`,
				Flags: []cli.Flag{
					cli.BoolFlag{
						Name:  "force, f",
						Usage: "skip confirmation prompt",
					},
				},
				Action: p.stateCleanup,
			},
		},
	}
}

func outputFlag() cli.Flag {
	return cli.StringFlag{Name: "file, f", Usage: "writes to an output file instead of standard output"}
}

// withState runs do with the loaded configuration of a stopped peer, under its
// lock.
func (p *program) withState(do func(context.Context, *peer.Configuration) error) error {
	// Checked first, because Lock makes the folder.
	if exists, err := peer.Initialized(p.files); err == nil && !exists {
		return fmt.Errorf("loading configurations: there is none at %s; init makes one", p.files.Config)
	}
	lock, err := peer.Lock(p.files)
	if err != nil {
		return err
	}
	defer lock.Close()
	cfg, err := p.load()
	if err != nil {
		return err
	}
	return do(context.Background(), cfg)
}

func (p *program) stateExport(c *cli.Context) error {
	return p.withState(func(ctx context.Context, cfg *peer.Configuration) error {
		err := p.writeOutput(c.String("file"), func(w io.Writer) error { return cfg.ExportPins(ctx, w) })
		if err != nil {
			return fmt.Errorf("exporting state: %w", err)
		}
		return nil
	})
}

// outputMode is the mode of exported files: pins have names and metadata of
// users.
const outputMode = 0o600

// writeOutput writes to the file, or to standard output for "". A file is
// replaced once the output is complete: a failed export, on a full disk for
// example, leaves the previous one as it was.
func (p *program) writeOutput(path string, write func(io.Writer) error) error {
	if path == "" {
		buf := bufio.NewWriter(p.out)
		return errors.Join(write(buf), buf.Flush())
	}
	if err := atomicfile.Write(path, outputMode, write); err != nil {
		return fmt.Errorf("writing the output file: %w", err)
	}
	return nil
}

func (p *program) stateImport(c *cli.Context) error {
	allocations, err := parsePeers(c.String("allocations"))
	if err != nil {
		return err
	}
	opts := peer.ImportOptions{
		ReplicationMin: c.Int("replication-min"),
		ReplicationMax: c.Int("replication-max"),
		Allocations:    allocations,
	}
	return p.withState(func(ctx context.Context, cfg *peer.Configuration) error {
		if !forced(c) {
			yes, err := p.confirm("The pinset (state) of this peer will be replaced. Continue?")
			if err != nil || !yes {
				return err
			}
		}
		// The prompt has read ahead: what follows on standard input is in p.in.
		var pins io.Reader = p.in
		if path := c.Args().First(); path != "" {
			f, err := os.Open(path)
			if err != nil {
				return fmt.Errorf("reading import file: %w", err)
			}
			defer f.Close()
			pins = bufio.NewReader(f)
		} else {
			p.notice("reading from stdin, Ctrl-D to finish")
		}
		if err := cfg.ImportPins(ctx, pins, opts); err != nil {
			return fmt.Errorf("importing state: %w", err)
		}
		p.notice("state imported. Make sure that all peers have the same.")
		return nil
	})
}

func parsePeers(list string) ([]libp2ppeer.ID, error) {
	var ids []libp2ppeer.ID
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		id, err := libp2ppeer.Decode(text)
		if err != nil {
			return nil, fmt.Errorf("reading --allocations: %q is no peer ID: %w", text, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (p *program) stateCleanup(c *cli.Context) error {
	return p.withState(func(ctx context.Context, cfg *peer.Configuration) error {
		if !forced(c) {
			yes, err := p.confirm("The peer state will be removed. Existing pins may be lost. Continue?")
			if err != nil || !yes {
				return err
			}
		}
		if err := cfg.CleanState(ctx); err != nil {
			return fmt.Errorf("cleaning state: %w", err)
		}
		p.notice("state cleaned up.")
		return nil
	})
}
