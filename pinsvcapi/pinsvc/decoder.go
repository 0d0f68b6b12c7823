package pinsvc

import (
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/multiformats/go-multiaddr"
)

// Decoder reads the bodies of requests. It remembers origins, because a client
// sends the same ones with each pin, and they are expensive to read. It is safe for concurrent use,
// and its zero value is ready for use.
type Decoder struct{ origins originCache }

// originCache has the origins that were read last, by their text. What it returns is shared and must
// not be changed.
type originCache struct {
	mu sync.Mutex
	// recent gets all that is asked for. When it is full it becomes old, and what was old and
	// not asked for again is forgotten.
	recent, old map[string]multiaddr.Multiaddr
}

// maxRecentOrigins bounds each of the two maps, and with MaxOriginBytes their memory.
const maxRecentOrigins = 1024

// parse returns the address of a text, or false.
func (c *originCache) parse(text []byte) (multiaddr.Multiaddr, bool) {
	if addr, ok := c.find(text); ok {
		return addr, true
	}
	known := string(text)
	addr, ok := parseOrigin(known)
	if !ok {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(known, slices.Clip(addr))
	return addr, true
}

func (c *originCache) find(text []byte) (multiaddr.Multiaddr, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr, ok := c.recent[string(text)]
	if !ok {
		if addr, ok = c.old[string(text)]; ok {
			c.keep(string(text), addr)
		}
	}
	return addr, ok
}

// keep needs the lock.
func (c *originCache) keep(text string, addr multiaddr.Multiaddr) {
	if c.recent == nil || len(c.recent) >= maxRecentOrigins {
		c.recent, c.old = make(map[string]multiaddr.Multiaddr), c.recent
	}
	c.recent[text] = addr
}

// scanPin reads a body as nearly all clients write it: its members are those of the specification,
// each once, and no string has an escape. Everything else is for decodePin, also what is wrong, so
// that what is accepted here has to be what that reads, and no more. data is valid UTF-8.
func (d *Decoder) scanPin(data []byte) (pin Pin, origins decodedOrigins, ok bool) {
	s := scanner{data: data}
	var seen [4]bool
	for first := true; s.member(&first, '{', '}'); {
		name, ok := s.text()
		field := fieldOf(name)
		if !ok || !s.token(':') || field < 0 || seen[field] {
			return Pin{}, decodedOrigins{}, false
		}
		if seen[field] = true; !d.scanField(&s, pinFields[field], &pin, &origins) {
			return Pin{}, decodedOrigins{}, false
		}
	}
	return pin, origins, s.ended() && pin.CID.Defined()
}

// pinFields are the fields of a pin in the specification.
var pinFields = [4]string{"cid", "name", "origins", "meta"}

// fieldOf returns the index of a name in pinFields, or -1.
func fieldOf(name []byte) int {
	for i, field := range pinFields {
		if string(name) == field {
			return i
		}
	}
	return -1
}

// scanField reads the value of a field.
func (d *Decoder) scanField(s *scanner, field string, pin *Pin, origins *decodedOrigins) bool {
	switch field {
	case "cid":
		text, ok := s.text()
		if !ok {
			return false
		}
		var err error
		pin.CID, err = ParseCID(string(text))
		return err == nil
	case "name":
		text, ok := s.text()
		pin.Name = string(text)
		return ok
	case "meta":
		return s.texts(&pin.Meta)
	case "origins":
		return d.scanOrigins(s, origins)
	default:
		return false
	}
}

func (d *Decoder) scanOrigins(s *scanner, origins *decodedOrigins) bool {
	position := 0
	for first := true; s.member(&first, '[', ']'); position++ {
		text, ok := s.text()
		if !ok {
			return false
		}
		if addr, ok := d.origins.parse(text); ok {
			origins.known = append(origins.known, addr)
			origins.positions = append(origins.positions, position)
		} else {
			origins.unknown++
		}
	}
	return !s.failed
}

// scanner reads JSON from left to right. What it reads shares memory with the data.
type scanner struct {
	data   []byte
	at     int
	failed bool
}

func (s *scanner) skipSpace() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// token skips white space and reads one character, if it is that.
func (s *scanner) token(c byte) bool {
	s.skipSpace()
	if s.at == len(s.data) || s.data[s.at] != c {
		return false
	}
	s.at++
	return true
}

// member reports whether another member of an object or an array follows; failed is set when
// something else does.
func (s *scanner) member(first *bool, begin, end byte) bool {
	if *first {
		*first = false
		if !s.token(begin) {
			s.failed = true
			return false
		}
		return !s.token(end)
	}
	if s.token(',') {
		return true
	}
	s.failed = s.failed || !s.token(end)
	return false
}

// text reads a string without escapes.
func (s *scanner) text() ([]byte, bool) {
	if !s.token('"') {
		s.failed = true
		return nil, false
	}
	for i := s.at; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			text := s.data[s.at:i]
			s.at = i + 1
			return text, true
		case c == '\\' || c < ' ':
			s.failed = true
			return nil, false
		}
	}
	s.failed = true
	return nil, false
}

// texts reads an object of strings with distinct keys. An empty one is nil.
func (s *scanner) texts(pairs *map[string]string) bool {
	for first := true; s.member(&first, '{', '}'); {
		key, ok := s.text()
		if !ok || !s.token(':') {
			return false
		}
		value, ok := s.text()
		if _, twice := (*pairs)[string(key)]; !ok || twice {
			return false
		}
		if *pairs == nil {
			*pairs = make(map[string]string)
		}
		(*pairs)[string(key)] = string(value)
	}
	return !s.failed
}

// ended reports whether nothing but white space is left, and nothing has failed.
func (s *scanner) ended() bool {
	s.skipSpace()
	return !s.failed && s.at == len(s.data)
}

// decode is decodePin, with what is remembered.
func (d *Decoder) decode(data []byte) (Pin, decodedOrigins, error) {
	if utf8.Valid(data) {
		if pin, origins, ok := d.scanPin(data); ok {
			return pin, origins, nil
		}
	}
	return decodePin(data)
}
