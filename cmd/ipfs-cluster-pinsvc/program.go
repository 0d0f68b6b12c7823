package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"

	"github.com/urfave/cli"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
)

const (
	programName   = "ipfs-cluster-pinsvc"
	defaultFolder = ".ipfs-cluster"
)

// program is one run of the command line.
type program struct {
	// in is buffered once, because "state import" reads what follows the
	// response to a prompt.
	in *bufio.Reader
	// out gets the result of a command, errOut messages about its progress.
	out, errOut io.Writer
	files       peer.Files
}

func newProgram(in io.Reader, out, errOut io.Writer) *program {
	return &program{in: bufio.NewReader(in), out: out, errOut: errOut}
}

// run executes one command line, args[0] being the program's name, and
// returns the exit code: 0 when done, also after a "no" to a prompt, else 1.
func (p *program) run(args []string) int {
	err := p.app().Run(args)
	if err == nil {
		return 0
	}
	// The codes of the command line library are kept: scripts for
	// ipfs-cluster-service know them.
	var coded cli.ExitCoder
	if errors.As(err, &coded) {
		if msg := err.Error(); msg != "" {
			p.notice("%s", msg)
		}
		return coded.ExitCode()
	}
	p.notice("error %s", err)
	return 1
}

// notice writes one line to standard error.
func (p *program) notice(format string, args ...any) {
	fmt.Fprintf(p.errOut, format+"\n", args...)
}

// print writes one line to standard output.
func (p *program) print(format string, args ...any) {
	fmt.Fprintf(p.out, format+"\n", args...)
}

func (p *program) app() *cli.App {
	app := cli.NewApp()
	app.Name = programName
	app.HelpName = programName
	app.Usage = "IPFS Cluster peer with the IPFS Pinning Service API"
	app.Description = description
	app.Version = clusterVersion()
	app.Writer, app.ErrWriter = p.out, p.errOut
	// Errors are returned to run, which is the one place that exits.
	app.ExitErrHandler = func(*cli.Context, error) {}
	app.OnUsageError = usageError
	app.Flags = []cli.Flag{
		cli.StringFlag{
			Name:   "config, c",
			Value:  filepath.Join(home(), defaultFolder),
			Usage:  "path to the configuration and data `FOLDER`",
			EnvVar: "IPFS_CLUSTER_PATH",
		},
		cli.BoolFlag{
			Name:  "force, f",
			Usage: "answer yes to all prompts, such as overwriting the configuration",
		},
		cli.BoolFlag{
			Name:  "debug, d",
			Usage: "log everything (very verbose)",
		},
		cli.StringFlag{
			Name:   "loglevel, l",
			EnvVar: "IPFS_CLUSTER_LOG_LEVEL",
			Usage:  "set overall and component-wise log levels, such as info,cluster:debug",
		},
	}
	app.Before = p.before
	app.Commands = withUsageErrors([]cli.Command{
		p.initCommand(),
		p.daemonCommand(),
		p.stateCommand(),
		p.tokenCommand(),
		p.configCommand(),
		p.ipfsCommand(),
		p.versionCommand(),
	})
	app.Action = p.noCommand
	return app
}

func (p *program) before(c *cli.Context) error {
	folder, err := filepath.Abs(c.GlobalString("config"))
	if err != nil {
		return fmt.Errorf("finding the configuration folder: %w", err)
	}
	p.files = peer.FilesIn(folder)
	return p.setLogLevels(c.GlobalBool("debug"), c.GlobalString("loglevel"))
}

// noCommand handles a missing or unknown command: it prints the help and fails,
// as ipfs-cluster-service does.
func (p *program) noCommand(c *cli.Context) error {
	if err := cli.ShowAppHelp(c); err != nil {
		return err
	}
	if name := c.Args().First(); name != "" {
		return fmt.Errorf("reading the command line: no such command: %s", name)
	}
	return cli.NewExitError("", 1)
}

// usageError makes a bad flag a failure. The library would print the help, and
// ipfs-cluster-service then exits with 0 as if the command had run.
func usageError(c *cli.Context, err error, _ bool) error {
	name := c.App.Name
	if c.Command.Name != "" {
		name = c.Command.HelpName
	}
	return fmt.Errorf("reading the command line: %w (see: %s --help)", err, name)
}

func withUsageErrors(cmds []cli.Command) []cli.Command {
	for i := range cmds {
		cmds[i].OnUsageError = usageError
		cmds[i].Subcommands = withUsageErrors(cmds[i].Subcommands)
	}
	return cmds
}

// home is the parent of the default folder: $HOME, which packagers set, else the
// user's home folder.
func home() string {
	if dir := os.Getenv("HOME"); dir != "" {
		return dir
	}
	if u, err := user.Current(); err == nil {
		return u.HomeDir
	}
	return "."
}

const description = `
Runs an IPFS Cluster peer that serves the IPFS Pinning Service API, so that
"ipfs pin remote", IPFS Desktop and others can keep content on it.

Without an IPFS node of your own it runs one. It is a drop-in for
ipfs-cluster-service: the same files, environment variables, commands and
flags; "ipfs-cluster-ctl" works with it as before.

It needs a configuration and an identity, service.json and identity.json in
~/` + defaultFolder + ` unless --config names another folder. "init" writes
both.

EXAMPLES:

A pinning service for oneself, in one line:

$ ` + programName + ` daemon --init --user alice

In two steps, and for a closed network:

$ ` + programName + ` init --profile private --user alice
$ ` + programName + ` daemon

Join a cluster:

$ ` + programName + ` daemon --bootstrap /ip4/192.168.1.2/tcp/9096/p2p/12D3Koo...

Log levels, overall and of components (debug, info, warn, error):

$ ` + programName + ` --loglevel info,cluster:debug,pintracker:debug daemon
`
