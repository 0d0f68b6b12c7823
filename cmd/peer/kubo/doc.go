// Package kubo supervises an IPFS node for the peer: an unmodified ipfs program
// with its own process and repo. It is by hand because a first run must work
// without any other tool: no supervisor of processes knows how to make a repo,
// migrate it, choose free ports or recognize an orphaned Kubo.
//
// Start makes the repo when there is none, starts the program, waits for its
// RPC and restarts it with a growing delay whenever it ends; Stop stops it. No
// failure of Kubo stops the daemon; Status has its cause in one sentence and the
// end of the program's output.
//
// # Who owns which setting
//
// Kubo's own configuration (the file config in the repo, edited by
// "ipfs-cluster-pinsvc ipfs config") belongs to the operator. These keys of
// Config are applied to it:
//
//   - swarm_addresses is Addresses.Swarm,
//   - storage_max is Datastore.StorageMax,
//   - gc_interval is Datastore.GCPeriod while enable_gc is set,
//   - profile "private" is the list of settings in profile.go.
//
// The file managed.json in the repo keeps the applied values and those before
// them, so that the last edit wins, wherever it was made: a value changed in
// Kubo's configuration stays until the key in service.json changes too, and a
// key that is removed from service.json restores the previous value. Every
// change is logged.
//
// Two settings are not the operator's, because the peer's safety depends on
// them, and are enforced at each start: Addresses.API is one TCP address on
// loopback (port 0, a port of Kubo's choice, unless the operator sets one) and
// Addresses.Gateway is empty. Garbage collection
// (enable_gc), telemetry and environment are arguments and environment of the
// process, not part of Kubo's configuration.
package kubo
