package sectionconfig

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Key describes one key of a section.
type Key struct {
	// Name is the key in the file.
	Name string
	// Field is the Go name of the field that holds the value. Its comment is
	// the documentation of the key.
	Field string
	// Env is the environment variable that overrides the key.
	Env string
	// EnvFile is the environment variable for the path of a file with the
	// value, or empty if the key is no secret.
	EnvFile string
	// Type is the form of a value, in words.
	Type string
	// Default is the value of a key that is left out, as JSON.
	Default string
	// Secret keys are masked in every display.
	Secret bool
	// Added keys are unknown to ipfs-cluster.
	Added bool
}

// field is a key together with its field of one section.
type field struct {
	name, goName, env        string
	fallback                 string // in the form of the environment
	hasFallback              bool
	zeroIsDefault, omitEmpty bool
	secret, added            bool
	typ                      Type
	value                    reflect.Value
}

// fields returns the keys of c. Setting their values changes c.
func (s Section[C]) fields(c *C) []field {
	v := reflect.ValueOf(c).Elem()
	var fields []field
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		tag, found := sf.Tag.Lookup("key")
		if !found {
			continue
		}
		name, rest, _ := strings.Cut(tag, ",")
		options := strings.Split(rest, ",")
		f := field{
			name: name, goName: sf.Name,
			env:           s.EnvPrefix + strings.ToUpper(strings.ReplaceAll(name, "_", "")),
			zeroIsDefault: slices.Contains(options, "zero"),
			omitEmpty:     slices.Contains(options, "omitempty"),
			secret:        slices.Contains(options, "secret"),
			added:         slices.Contains(options, "added"),
			typ:           s.typeOf(sf.Type, slices.Contains(options, "single")),
			value:         v.Field(i),
		}
		f.fallback, f.hasFallback = sf.Tag.Lookup("default")
		fields = append(fields, f)
	}
	return fields
}

// typeOf panics if no Type is known for a field: any use of the section fails
// then.
func (s Section[C]) typeOf(of reflect.Type, single bool) Type {
	for _, t := range slices.Concat(s.Types, builtinTypes()) {
		if t.of == of && (t.single || !single) {
			return t
		}
	}
	panic(fmt.Sprintf("%s: a field of type %s cannot be a key", s.Name, of))
}

// setDefault sets the field to its default.
func (f field) setDefault() {
	if !f.hasFallback {
		f.value.SetZero()
		return
	}
	if err := f.typ.parse(f.value, f.fallback); err != nil {
		panic(fmt.Sprintf("the default of %s: %v", f.name, err)) // A mistake in the tag.
	}
}

// replaceZero sets the field to its default if zero stands for it.
func (f field) replaceZero() {
	if f.zeroIsDefault && f.isEmpty() {
		f.setDefault()
	}
}

func (f field) isEmpty() bool {
	switch f.value.Kind() {
	case reflect.Map, reflect.Slice:
		return f.value.Len() == 0
	default:
		return f.value.IsZero()
	}
}

// encode returns the value as it is written to the file.
func (f field) encode() (json.RawMessage, error) {
	plain, err := f.typ.encode(f.value)
	if err != nil {
		return nil, err
	}
	return json.Marshal(plain)
}

// Keys returns every key of the section, in the order of the file.
func (s Section[C]) Keys() []Key {
	var c C
	s.SetDefaults(&c)
	var keys []Key
	for _, f := range s.fields(&c) {
		value, err := f.encode()
		if err != nil {
			panic(fmt.Sprintf("the default of %s: %v", f.name, err))
		}
		key := Key{
			Name: f.name, Field: f.goName, Env: f.env, Type: f.typ.words,
			Default: string(value), Secret: f.secret, Added: f.added,
		}
		if f.secret {
			key.EnvFile = f.env + FileSuffix
		}
		keys = append(keys, key)
	}
	return keys
}

// EnvNames returns every environment variable that the section reads, those
// for files with secrets included.
func (s Section[C]) EnvNames() []string {
	var names []string
	for _, key := range s.Keys() {
		names = append(names, key.Env)
		if key.EnvFile != "" {
			names = append(names, key.EnvFile)
		}
	}
	return names
}
