package faults

import (
	"encoding/json"
	"fmt"
	"os"
)

// object is a JSON object that is edited in place.
type object map[string]any

// at is the object below the keys; missing ones are made.
func (o object) at(keys ...string) object {
	for _, key := range keys {
		below, ok := o[key].(map[string]any)
		if !ok {
			below = map[string]any{}
			o[key] = below
		}
		o = below
	}
	return o
}

// editJSON changes a file that holds a JSON object.
func editJSON(path string, change func(object)) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	o := object{}
	if err := json.Unmarshal(raw, &o); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	change(o)
	raw, err = json.MarshalIndent(o, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}
