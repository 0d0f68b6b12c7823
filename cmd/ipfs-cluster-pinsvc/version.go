package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
)

func clusterVersion() string { return peer.ClusterVersion() }

func (p *program) versionCommand() cli.Command {
	return cli.Command{
		Name:  "version",
		Usage: "Prints the ipfs-cluster version",
		Description: `
Prints the version of IPFS Cluster that this peer is, alone on its line, as
ipfs-cluster-service does: what other peers and ipfs-cluster-ctl compare.
With --all also the version of this program.
`,
		Flags: []cli.Flag{
			cli.BoolFlag{Name: "all", Usage: "print the versions of this program and of Go too"},
		},
		Action: func(c *cli.Context) error {
			if !c.Bool("all") {
				p.print("%s", clusterVersion())
				return nil
			}
			p.print("%s %s", programName, buildVersion())
			p.print("ipfs-cluster %s", clusterVersion())
			p.print("%s %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

// commit is what the program was built from, set by "make"; see the Makefile.
var commit string

// buildVersion is the version of this program.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versionOf(info, commit)
}

// versionOf is the version in the build info of the Go toolchain: the module's, or
// one made from the commit. Without build info it is the commit that "make" set.
func versionOf(info *debug.BuildInfo, commit string) string {
	version := info.Main.Version
	if version == "" || version == "(devel)" {
		version = "unreleased"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
	}
	if commit == "" {
		return version
	}
	return fmt.Sprintf("%s (commit %s)", version, commit)
}
