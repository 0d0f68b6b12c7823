package peer

import "sync"

// healthDetails are what an operator should attend to although the peer serves
// requests. GET /ready shows them to everybody, so no sentence names an address, a
// path or a user. It is safe for concurrent use.
type healthDetails struct {
	mu      sync.Mutex
	sources []func() []string
}

// add adds a source. It is called for each GET /ready and returns from memory.
func (d *healthDetails) add(source func() []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sources = append(d.sources, source)
}

// all returns the sentences of all sources, in the order in which they were added.
func (d *healthDetails) all() []string {
	d.mu.Lock()
	sources := d.sources
	d.mu.Unlock()
	var all []string
	for _, source := range sources {
		all = append(all, source()...)
	}
	return all
}
