package faults

import "time"

// Options are what a run is made of.
type Options struct {
	Plan
	Workload
	// Folder is where logs and histories go.
	Folder string
	// Service and Ipfs are the paths of the programs.
	Service, Ipfs string
	// Log is told what happens.
	Log func(format string, args ...any)
}

// Workload is what the clients do.
type Workload struct {
	// Clients send requests at once.
	Clients int
	Keys    int // of one client
	Shared  int // of all clients
	// ClientPause is the mean time between two requests of one client.
	ClientPause time.Duration
}
