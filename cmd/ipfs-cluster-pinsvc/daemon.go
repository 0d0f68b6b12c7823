package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/urfave/cli"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
)

const (
	// stopLimit bounds the whole stop. Its longest waits are the draining of
	// requests and the cluster's own shutdown.
	stopLimit = 2 * time.Minute
	// forceLimit bounds the stop after a second signal.
	forceLimit = 5 * time.Second
)

func (p *program) daemonCommand() cli.Command {
	return cli.Command{
		Name:  "daemon",
		Usage: "Runs the IPFS Cluster peer",
		Description: `
Runs the peer until it gets SIGINT (Ctrl-C), SIGTERM or SIGHUP. It then stops
in good order; a second signal makes it stop at once.

Users, certificate and access log of the Pinning Service API are read again
when their files change, and on SIGUSR1.

With --init, and only where there is no configuration yet, one is written
first, as "init" does with the same flags.
`,
		Flags: append([]cli.Flag{
			cli.BoolFlag{
				Name:  "upgrade, u",
				Usage: "run state migrations before starting (deprecated/unused)",
			},
			cli.StringFlag{
				Name:  "bootstrap, j",
				Usage: "join a cluster providing a comma-separated list of existing peers multiaddress(es)",
			},
			cli.BoolFlag{
				Name:   "leave, x",
				Usage:  "remove peer from cluster on exit. Overrides \"leave_on_shutdown\"",
				Hidden: true,
			},
			cli.BoolFlag{
				Name:  "stats",
				Usage: "enable stats collection",
			},
			cli.BoolFlag{
				Name:  "tracing",
				Usage: "enable tracing collection",
			},
			cli.BoolFlag{
				Name:  "no-trust",
				Usage: "do not trust bootstrap peers (only for \"crdt\" consensus)",
			},
			cli.BoolFlag{
				Name:  "init",
				Usage: "initialize first where there is no configuration, with the flags below",
			},
		}, initFlags()...),
		Action: p.daemon,
	}
}

func (p *program) daemon(c *cli.Context) error {
	// First of all: a signal to a process without a handler kills it.
	signals, reloads := make(chan os.Signal, 3), make(chan os.Signal, 1)
	signal.Notify(signals, stopSignals()...)
	defer signal.Stop(signals)
	if list := reloadSignals(); len(list) > 0 { // Without signals, Notify would relay all signals.
		signal.Notify(reloads, list...)
		defer signal.Stop(reloads)
	}
	bootstraps, err := parseAddresses("--bootstrap", c.String("bootstrap"))
	if err != nil {
		return err
	}
	newUsers, err := p.initFirst(c)
	if err != nil {
		return err
	}
	cfg := peer.NewConfiguration(p.files, "", "")
	defer cfg.Close()
	run := &daemonRun{program: p, signals: signals, reloads: reloads, exit: os.Exit, cfg: cfg, newUsers: newUsers}
	return run.do(peer.Options{
		Configuration: cfg,
		Bootstraps:    bootstraps,
		NoTrust:       c.Bool("no-trust"),
		Leave:         c.Bool("leave"),
		Stats:         c.Bool("stats"),
		Tracing:       c.Bool("tracing"),
		OwnsProcess:   true,
		Progress:      newProgress(p).report,
		Version:       buildVersion(),
	})
}

// initFirst handles --init and returns the users that it has added.
func (p *program) initFirst(c *cli.Context) ([]peer.NewUser, error) {
	if !c.Bool("init") {
		for _, flag := range initFlags() {
			if name, _, _ := strings.Cut(flag.GetName(), ","); c.IsSet(name) {
				return nil, fmt.Errorf("reading the command line: --%s is for --init", name)
			}
		}
		return nil, nil
	}
	exists, err := peer.Initialized(p.files)
	if err != nil || exists {
		return nil, err
	}
	opts, err := initOptions(c)
	if err != nil {
		return nil, err
	}
	// The peer takes the lock again. A process that takes it in between has
	// written a configuration or runs; both are noticed.
	lock, err := peer.Lock(p.files)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	done, err := peer.Init(p.files, opts)
	if errors.Is(err, os.ErrExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p.reportInit(done)
	return done.Users, nil
}

// daemonRun is one run of the daemon.
type daemonRun struct {
	*program
	signals, reloads <-chan os.Signal

	exit     func(code int)
	cfg      *peer.Configuration
	newUsers []peer.NewUser // Added by this run.
}

func (d *daemonRun) do(opts peer.Options) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stopCtx, hurry := context.WithCancel(context.Background())
	defer hurry()
	ended := make(chan struct{})
	defer close(ended)
	go d.watchSignals(ended, cancel, hurry)

	p, err := peer.New(ctx, opts)
	if err != nil {
		return ignoreStopped(ctx, fmt.Errorf("starting the peer: %w", err))
	}
	err = p.Start(ctx)
	if err == nil {
		d.await(ctx, p)
	} else {
		err = fmt.Errorf("starting the peer: %w", err)
	}
	return errors.Join(ignoreStopped(ctx, err), d.stop(stopCtx, p))
}

// ignoreStopped drops the error of a start that a signal ended.
func ignoreStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// await shows how to use the peer when it is ready, reloads it on a signal, and
// returns when it must be stopped.
//
// A reload runs beside it: it may wait for a configuration that is read from a
// URL. Signals that arrive meanwhile request one more reload.
func (d *daemonRun) await(ctx context.Context, p *peer.Peer) {
	ready := p.Ready()
	reloads, reloaded := d.reloads, make(chan struct{}, 1)
	for {
		select {
		case <-ready:
			ready = nil
			d.showReady(p)
		case <-reloads:
			reloads = nil
			go func() {
				d.reload(p)
				reloaded <- struct{}{}
			}()
		case <-reloaded:
			reloads = d.reloads
		case <-ctx.Done():
			return
		case <-p.Done():
			return
		}
	}
}

// reload reads users, certificate and access log again. The peer logs the
// result too, but not at each log level.
func (d *daemonRun) reload(p *peer.Peer) {
	if err := p.Reload(); err != nil {
		d.notice("error %s", err)
		return
	}
	d.notice("reloaded users, certificate and access log.")
}

func (d *daemonRun) stop(ctx context.Context, p *peer.Peer) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	err := p.Stop(ctx)
	if errors.Is(err, peer.ErrRemoved) {
		// As ipfs-cluster-service: no failure of this peer.
		d.notice("%s; it has stopped.", peer.ErrRemoved)
		return nil
	}
	if err != nil {
		return fmt.Errorf("stopping the peer: %w", err)
	}
	d.notice("stopped.")
	return nil
}

// watchSignals stops the peer at the first signal, shortens the stop at the
// second, and exits at the third or when the shortened stop takes too long.
func (d *daemonRun) watchSignals(ended <-chan struct{}, stop, hurry func()) {
	var overdue <-chan time.Time
	for n := 1; ; n++ {
		select {
		case <-ended:
			return
		case <-overdue:
			d.notice("the peer does not stop, exiting without it.")
			d.exit(1)
			return
		case sig := <-d.signals:
			switch n {
			case 1:
				d.notice("stopping (%s). Once more to force it.", sig)
				stop()
			case 2:
				d.notice("stopping at once (%s).", sig)
				hurry()
				overdue = time.After(forceLimit)
			default:
				d.notice("exiting now. The state of the peer may have been damaged.")
				d.exit(1)
				return
			}
		}
	}
}
