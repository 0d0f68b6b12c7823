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
	// ReservedMetaPrefix begins the keys under which the service keeps data
	// of its own in the metadata of a pin (D2, D7). Clients can neither set
	// nor see them.
	ReservedMetaPrefix = "pinsvc."
)

// checkMeta returns an error for the first limit that the pairs exceed.
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
		// The cluster's records are protocol buffers, whose strings are UTF-8.
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return errors.New("not valid UTF-8")
		}
	}
	if size > MaxMetaBytes {
		return fmt.Errorf("%d bytes of keys and values are more than %d", size, MaxMetaBytes)
	}
	return nil
}

// parseMetaFilter reads the value of a meta parameter in one of the two
// encodings without brackets in the name of the parameter: the JSON object of the
// specification, and the text of a Go map, which boxo's client sends.
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
// map[string]string. The text is ambiguous when values contain spaces, but fmt
// sorts by key: a word with a colon begins a new pair only if the text before the
// colon sorts after the previous key, so "map[app:x note:see also: y]" has two
// pairs. A value that has the form of a later key is misread; the other two encodings
// are not ambiguous.
func parseGoMap(text string) (map[string]string, error) {
	pairs := make(map[string]string)
	if text == "" {
		return pairs, nil
	}
	// The first key may contain spaces: it ends at the first colon.
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
