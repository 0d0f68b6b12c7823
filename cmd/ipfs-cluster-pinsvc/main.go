// The ipfs-cluster-pinsvc program runs an IPFS Cluster peer that serves the
// IPFS Pinning Service API, with a Kubo node of its own or any other.
//
// It is a drop-in for ipfs-cluster-service: the same files, environment
// variables, commands and flags mean the same. This package parses the command
// line, prompts, prints and handles signals; the peer itself is package
// cmd/peer.
package main

import "os"

func main() {
	routeLogs()
	p := newProgram(os.Stdin, os.Stdout, os.Stderr)
	if err := lowerRoutine(); err != nil {
		p.notice("warning: routine messages are not left out of the log: %v", err)
	}
	os.Exit(p.run(os.Args))
}
