// Package load puts load on the built daemon, with real clients and a real IPFS
// node: mixed work of 100 users over many connections, pins in flight that are
// polled, and a restart with many pins. Its tests are short in make test; make load
// takes them to their real size and writes the measured part of docs/load.md.
package load
