package main

import (
	"fmt"

	logging "github.com/ipfs/go-log/v2"
	"github.com/urfave/cli"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
)

func (p *program) configCommand() cli.Command {
	return cli.Command{
		Name:  "config",
		Usage: "Checks the configuration",
		Subcommands: []cli.Command{
			{
				Name:  "check",
				Usage: "report every fault and every unknown key",
				Description: `
Reads the configuration, the environment and the identity as a start of the
daemon would, and lists all faults. It fails if there is a fault. Keys and
CLUSTER_ variables that nothing reads, most likely misspelt, are no fault.
`,
				Action: p.configCheck,
			},
		},
	}
}

func (p *program) configCheck(c *cli.Context) error {
	if !c.GlobalBool("debug") {
		// Upstream's config manager logs the faults that are printed below.
		if err := logging.SetLogLevel("config", "fatal"); err != nil {
			return fmt.Errorf("setting the log level of config: %w", err)
		}
	}
	found := peer.Check(p.files)
	for _, fault := range found.Faults {
		p.print("fault: %s", fault)
	}
	for _, key := range found.Unknown {
		p.print("unknown key: %s", key)
	}
	for _, sentence := range found.UnknownVariables {
		p.print("%s", sentence)
	}
	if n := len(found.Faults); n > 0 {
		return fmt.Errorf("checking the configuration: %d found", n)
	}
	if len(found.Unknown)+len(found.UnknownVariables) == 0 {
		p.print("%s is fine.", p.files.Config)
	}
	return nil
}
