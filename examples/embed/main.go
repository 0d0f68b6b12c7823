// Embed runs a whole cluster peer inside a program: the peer, a managed Kubo
// node and the Pinning Service API. At the first run it makes a private peer
// with one user in its folder.
//
//	make                       # builds bin/ipfs, the Kubo that the peer runs
//	PATH=$PWD/bin:$PATH go run ./examples/embed -folder mypeer
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
)

func main() {
	folder := flag.String("folder", "mypeer", "the `folder` of the peer")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *folder, func(address string) { fmt.Println("serving at http://" + address) }); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

// run runs the peer of the folder until ctx ends or the peer ends by itself.
// It calls ready with the address of the Pinning Service API once requests are
// served.
func run(ctx context.Context, folder string, ready func(address string)) error {
	files := peer.FilesIn(folder)
	if err := initialize(files); err != nil {
		return err
	}
	cfg := peer.NewConfiguration(files, "", "")
	defer cfg.Close()
	p, err := peer.New(ctx, peer.Options{Configuration: cfg, Version: "embed example"})
	if err != nil {
		return err
	}
	go func() {
		select {
		case <-p.Ready():
			ready(p.PinsvcAddrs()[0])
		case <-p.Done():
		}
	}()
	return p.Run(ctx)
}

// initialize writes the files of a new peer, unless they are there.
func initialize(files peer.Files) error {
	lock, err := peer.Lock(files)
	if err != nil {
		return err
	}
	defer lock.Close()
	_, err = peer.Init(files, peer.InitOptions{
		Profile:     peer.ProfilePrivate, // loopback only
		RandomPorts: true,
		Users:       []string{"me"},
	})
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
