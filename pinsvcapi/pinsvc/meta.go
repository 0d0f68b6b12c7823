package pinsvc

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of the metadata of a pin, and of a filter by metadata.
const (
	// MaxMetaPairs is the specification's.
	MaxMetaPairs = 1000
	// MaxMetaBytes bounds the keys and values together, in UTF-8.
	MaxMetaBytes = 16 << 10
	// ReservedMetaPrefix begins the keys under which the service keeps its
	// own records in a pin's metadata (D2, D7): refused from clients and
	// never shown to them.
	ReservedMetaPrefix = "pinsvc."
)

// checkMeta reports the first limit that pairs go beyond.
func checkMeta(pairs map[string]string) error {
	if len(pairs) > MaxMetaPairs {
		return fmt.Errorf("%d pairs are more than %d", len(pairs), MaxMetaPairs)
	}
	size := 0
	for key, value := range pairs {
		size += len(key) + len(value)
		if strings.HasPrefix(key, ReservedMetaPrefix) {
			return fmt.Errorf("keys that begin with %q are reserved for the service", ReservedMetaPrefix)
		}
		// Records are protocol buffers, whose strings are UTF-8.
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return errors.New("not valid UTF-8")
		}
	}
	if size > MaxMetaBytes {
		return fmt.Errorf("%d bytes of keys and values are more than %d", size, MaxMetaBytes)
	}
	return nil
}

// parseMetaFilter reads the value of a meta parameter in either of the two
// encodings that need no brackets in the parameter's name: the JSON object of
// the specification, and the text of a Go map that boxo's client sends.
func parseMetaFilter(s string) (map[string]string, error) {
	if text, ok := strings.CutPrefix(s, "map["); ok {
		if text, ok = strings.CutSuffix(text, "]"); !ok {
			return nil, fmt.Errorf("%s begins a Go map, but does not end it with ]", quote(s))
		}
		return parseGoMap(text)
	}
	if !utf8.ValidString(s) {
		return nil, errors.New("not valid UTF-8")
	}
	if !strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "{") {
		return nil, fmt.Errorf(`%s is neither a JSON object like {"key":"value"} nor map[key:value]`, quote(s))
	}
	pairs, err := decodeStringMap([]byte(s))
	if err != nil {
		return nil, err
	}
	return pairs, nil
}

// parseGoMap reads what fmt prints between "map[" and "]" for a
// map[string]string. That text does not say where a pair ends when values hold
// spaces, but fmt sorts by key: a word with a colon begins a new pair only if
// what stands before the colon sorts after the key before it, so that
// "map[app:x note:see also: y]" has two pairs. A value that imitates a later
// key is misread; the other two encodings have no such gap.
func parseGoMap(text string) (map[string]string, error) {
	pairs := make(map[string]string)
	if text == "" {
		return pairs, nil
	}
	// The first key may hold spaces: it goes on until the first colon.
	key, rest, ok := strings.Cut(text, ":")
	if !ok {
		return nil, fmt.Errorf("%s has no colon between key and value", quote("map["+text+"]"))
	}
	words := strings.Split(rest, " ")
	value := words[0]
	for _, word := range words[1:] {
		if next, begin, ok := strings.Cut(word, ":"); ok && next > key {
			pairs[key] = value
			key, value = next, begin
			continue
		}
		value += " " + word
	}
	pairs[key] = value
	return pairs, nil
}
