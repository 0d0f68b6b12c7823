package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// ToDisplayJSON writes the section with all keys, its secrets masked. A
// secret that is not set is shown as such.
func (c *Config) ToDisplayJSON() ([]byte, error) { return section().Display(c, c.unknown) }

// MarshalJSON is ToDisplayJSON, so that no structured log or dump that holds
// a Config shows its secrets. The file is written by ToJSON.
func (c Config) MarshalJSON() ([]byte, error) { return c.ToDisplayJSON() }

// String is ToDisplayJSON on one line.
func (c Config) String() string {
	raw, err := c.ToDisplayJSON()
	if err != nil {
		return fmt.Sprintf("api.%s (%v)", configKey, err)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil {
		return fmt.Sprintf("api.%s (%v)", configKey, err)
	}
	return line.String()
}

// Format implements fmt.Formatter: every verb, %#v and %d too, writes String,
// because fmt would write out the fields for some of them.
func (c Config) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, c.String())
}
