// Package kubo runs and minds an IPFS node for the peer: an unmodified ipfs
// program, in a process and with a repo of its own.
//
// Start makes the repo when there is none, starts the program, waits for its
// RPC, starts it again with a growing delay whenever it ends, and Stop stops
// it. Nothing that goes wrong with it stops the daemon; Status says what it
// is, in one sentence, and what the program last wrote.
//
// # Who owns which setting
//
// Kubo's own configuration (the file config in the repo, edited by
// "ipfs-cluster-pinsvc ipfs config") belongs to the operator. The keys of
// Config that stand for settings of Kubo are laid over it:
//
//   - swarm_addresses is Addresses.Swarm,
//   - storage_max is Datastore.StorageMax,
//   - gc_interval is Datastore.GCPeriod while enable_gc is set,
//   - profile "private" is the list of settings in profile.go.
//
// What was laid over, and what was there before, is remembered in the file
// managed.json in the repo. So the last edit holds, wherever it was made: a
// value changed in Kubo's configuration stays until the key in service.json
// changes too, and a key that is removed from service.json brings back what
// was there before. Every change is logged.
//
// Two settings are not the operator's, because the peer could not be safe
// without them, and are put right at each start: Addresses.API is one TCP
// address on loopback (port 0, a port of Kubo's choice, unless the operator
// sets one) and Addresses.Gateway is empty. Garbage collection
// (enable_gc), telemetry and environment are arguments and environment of the
// process, not part of Kubo's configuration.
package kubo
