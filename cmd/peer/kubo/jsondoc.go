package kubo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/atomicfile"
)

// document is a JSON object whose values are addressed by dotted keys, as
// "ipfs config" does. Numbers keep their text.
type document map[string]any

// readDocument reads a JSON object.
func readDocument(path string) (document, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var doc document
	if err := decodeExact(raw, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if doc == nil {
		return nil, fmt.Errorf("%s: not a JSON object", path)
	}
	return doc, nil
}

func decodeExact(raw []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return dec.Decode(v)
}

// plain converts v to the types of decoded JSON, so that it can be compared with
// a document. All values used here can be encoded.
func plain(v any) any {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var out any
	if decodeExact(raw, &out) != nil {
		return nil
	}
	return out
}

// get returns the value at key, nil when there is none.
func (d document) get(key string) any {
	parent, last := d.walk(key, false)
	return parent[last]
}

// set puts value at key; nil removes the key.
func (d document) set(key string, value any) {
	parent, last := d.walk(key, value != nil)
	switch {
	case value != nil:
		parent[last] = value
	case parent != nil:
		delete(parent, last)
	}
}

func (d document) walk(key string, create bool) (parent map[string]any, last string) {
	names := strings.Split(key, ".")
	parent = d
	for _, name := range names[:len(names)-1] {
		child, ok := parent[name].(map[string]any)
		if !ok {
			if !create {
				return nil, ""
			}
			child = map[string]any{}
			parent[name] = child
		}
		parent = child
	}
	return parent, names[len(names)-1]
}

// writeJSON replaces a file atomically.
func writeJSON(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(raw, '\n'), 0o600)
}
