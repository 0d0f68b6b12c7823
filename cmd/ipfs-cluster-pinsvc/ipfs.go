package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
)

func (p *program) ipfsCommand() cli.Command {
	return cli.Command{
		Name:      "ipfs",
		Usage:     "Runs the ipfs command of Kubo on the managed IPFS node",
		ArgsUsage: "[arguments of ipfs...]",
		Description: `
Passes all arguments to Kubo's own command, with the repo of the node that
the daemon manages, running or not:

$ ` + programName + ` ipfs swarm peers
`,
		SkipFlagParsing: true,
		Action:          p.ipfs,
	}
}

func (p *program) ipfs(c *cli.Context) error {
	cfg, err := p.load()
	if err != nil {
		return err
	}
	managed := cfg.HasManaged()
	cmd, err := kubo.Command(context.Background(), cfg.Managed, c.Args()...)
	if !managed {
		return errors.New("running ipfs: this peer has no IPFS node of its own (there is no ipfs_connector.managed " +
			"in its configuration); use the ipfs command of the node that it is connected to")
	}
	if err != nil {
		return fmt.Errorf("running ipfs: %w", err)
	}
	return become(cmd)
}
