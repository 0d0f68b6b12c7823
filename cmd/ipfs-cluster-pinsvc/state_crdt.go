package main

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
)

func (p *program) stateCRDTCommand() cli.Command {
	setDirty := func(dirty bool) func(*cli.Context) error {
		return func(*cli.Context) error {
			return p.withState(func(ctx context.Context, cfg *peer.Configuration) error {
				if err := cfg.MarkCRDT(ctx, dirty); err != nil {
					return fmt.Errorf("marking the CRDT store: %w", err)
				}
				p.print("Datastore marked '%s'", map[bool]string{true: "dirty", false: "clean"}[dirty])
				return nil
			})
		}
	}
	return cli.Command{
		Name:  "crdt",
		Usage: "CRDT-state commands",
		Subcommands: []cli.Command{
			{
				Name:        "info",
				Usage:       "Print information about the CRDT store",
				Description: "\nPrints the number of heads, the height of the DAG and whether the store is\nmarked dirty.\n",
				Action:      p.stateCRDTInfo,
			},
			{
				Name:  "dot",
				Usage: "Write the CRDT-DAG as DOT file",
				Description: `
Writes the DAG for Graphviz, to see how much it branches. That of a large
pinset is large.
`,
				Flags:  []cli.Flag{outputFlag()},
				Action: p.stateCRDTDot,
			},
			{
				Name:        "mark-dirty",
				Usage:       "Marks the CRDT-store as dirty",
				Description: "\nMakes the next start of the peer repair the store.\n",
				Action:      setDirty(true),
			},
			{
				Name:        "mark-clean",
				Usage:       "Marks the CRDT-store as clean",
				Description: "\nMakes the next start of the peer trust the store as it is.\n",
				Action:      setDirty(false),
			},
		},
	}
}

func (p *program) stateCRDTInfo(*cli.Context) error {
	return p.withState(func(ctx context.Context, cfg *peer.Configuration) error {
		stats, err := cfg.CRDTStats(ctx)
		if err != nil {
			return fmt.Errorf("reading the CRDT store: %w", err)
		}
		p.print("Number of heads: %d. Current max-height: %d. Dirty: %t", len(stats.Heads), stats.MaxHeight, stats.Dirty)
		p.print("Heads: %s", stats.Heads)
		return nil
	})
}

func (p *program) stateCRDTDot(c *cli.Context) error {
	return p.withState(func(ctx context.Context, cfg *peer.Configuration) error {
		err := p.writeOutput(c.String("file"), func(w io.Writer) error { return cfg.WriteCRDTDot(ctx, w) })
		if err != nil {
			return fmt.Errorf("generating graph: %w", err)
		}
		return nil
	})
}
