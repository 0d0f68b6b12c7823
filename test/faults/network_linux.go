package faults

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// network joins namespaces: it forwards each packet to the namespace that has
// its destination, as the link between the two allows. Each direction of a link
// is a link of its own.
type network struct {
	ports []*namespace
	links [][]*link // links[from][to]
	wg    sync.WaitGroup
}

// link is one direction between two namespaces.
type link struct {
	cuts  atomic.Int32 // how many faults cut it
	delay atomic.Int64 // nanoseconds, the sum of those of all faults
	queue chan packet
}

type packet struct {
	due  time.Time
	data []byte
}

// queueLength bounds what waits on a slow link; what is more is lost, as on a
// real one.
const queueLength = 8192

// subnet is the network of all namespaces. Its addresses are private, and lead
// nowhere from here.
var subnet = netip.MustParsePrefix("10.77.0.0/24")

// address is that of the namespace with the index.
func address(index int) netip.Addr {
	b := subnet.Addr().As4()
	b[3] = byte(index + 1)
	return netip.AddrFrom4(b)
}

// newNetwork makes n namespaces that reach each other.
func newNetwork(n int) (*network, error) {
	w := &network{}
	for i := range n {
		port, err := newNamespace(address(i))
		if err != nil {
			w.close()
			return nil, err
		}
		w.ports = append(w.ports, port)
	}
	w.links = make([][]*link, n)
	for from := range w.links {
		w.links[from] = make([]*link, n)
		for to := range w.links[from] {
			l := &link{queue: make(chan packet, queueLength)}
			w.links[from][to] = l
			go w.deliver(l, to)
		}
	}
	for i := range w.ports {
		w.wg.Go(func() { w.forward(i) })
	}
	return w, nil
}

// forward reads what a namespace sends until it is closed.
func (w *network) forward(from int) {
	buf := make([]byte, mtu+64)
	for {
		n, err := w.ports[from].tun.Read(buf)
		if err != nil {
			return
		}
		const destination = 16 // in the header of IPv4
		if n < destination+4 || buf[0]>>4 != 4 {
			continue
		}
		addr := netip.AddrFrom4([4]byte(buf[destination : destination+4]))
		to := int(addr.As4()[3]) - 1
		if !subnet.Contains(addr) || to < 0 || to >= len(w.ports) || to == from {
			continue
		}
		w.send(w.links[from][to], to, buf[:n])
	}
}

func (w *network) send(l *link, to int, data []byte) {
	if l.cuts.Load() > 0 {
		return
	}
	delay := time.Duration(l.delay.Load())
	if delay == 0 {
		_, _ = w.ports[to].tun.Write(data) // A full queue loses it, as on a real link.
		return
	}
	select {
	case l.queue <- packet{due: time.Now().Add(delay), data: append([]byte(nil), data...)}:
	default:
	}
}

// deliver hands on what waits on a slow link when it is due.
func (w *network) deliver(l *link, to int) {
	for p := range l.queue {
		time.Sleep(time.Until(p.due))
		if l.cuts.Load() == 0 {
			_, _ = w.ports[to].tun.Write(p.data)
		}
	}
}

// cut loses every packet in this direction until restore.
func (w *network) cut(from, to int) { w.links[from][to].cuts.Add(1) }

// restore ends one cut.
func (w *network) restore(from, to int) { w.links[from][to].cuts.Add(-1) }

// slow delays every packet in this direction by so much more, or less.
func (w *network) slow(from, to int, by time.Duration) { w.links[from][to].delay.Add(int64(by)) }

// close ends the namespaces with the processes in them.
func (w *network) close() error {
	var first error
	for _, port := range w.ports {
		if err := port.close(); err != nil && first == nil {
			first = fmt.Errorf("closing a namespace: %w", err)
		}
	}
	w.wg.Wait()
	for _, row := range w.links {
		for _, l := range row {
			close(l.queue)
		}
	}
	return first
}
