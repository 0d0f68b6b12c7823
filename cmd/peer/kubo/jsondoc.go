package kubo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// plain turns v into what reading its JSON gives, so that it can be compared
// with what was read. The values that pass here can always be encoded.
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
	parts := strings.Split(key, ".")
	parent = d
	for _, part := range parts[:len(parts)-1] {
		child, ok := parent[part].(map[string]any)
		if !ok {
			if !create {
				return nil, ""
			}
			child = map[string]any{}
			parent[part] = child
		}
		parent = child
	}
	return parent, parts[len(parts)-1]
}

// writeJSON replaces a file as a whole, or not at all.
func writeJSON(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	// CreateTemp makes files that only their owner may read.
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
