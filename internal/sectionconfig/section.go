// Package sectionconfig reads and writes sections of the cluster's
// service.json.
//
// A section is a struct. Each field with the tag "key" is a key of the file:
//
//	// IdleTimeout is how long a connection is kept open between two requests.
//	IdleTimeout time.Duration `key:"idle_timeout" default:"2m"`
//
// The tag holds the key's name and these options, separated by commas:
//
//	omitempty  not written to the file while empty
//	secret     masked in displays, and read from the file that the
//	           environment variable with the suffix _FILE names
//	single     a list that may be written as its only element
//	zero       zero, or an empty list, stands for the default
//	added      unknown to ipfs-cluster
//
// The tag "default" is the value of a key that is left out, in the form of an
// environment variable. The variable of a key is its name in capitals without
// underscores, after the prefix of the section. The comment of the field is the
// documentation of the key (see package keydoc).
package sectionconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/jsonobject"
)

// Section describes how the section C is read and written.
type Section[C any] struct {
	// Name begins every fault, such as api.pinsvcapi.
	Name string
	// EnvPrefix begins every environment variable, such as CLUSTER_PINSVCAPI_.
	EnvPrefix string
	// Lenient sections are read as ipfs-cluster reads its own: the letter case
	// of keys does not matter, and empty texts and variables leave the value of
	// a text, a duration or a list of addresses unchanged.
	Lenient bool
	// Types are those of the fields beside the types of this package.
	Types []Type
	// Adjust, if set, changes the values of the file before they are
	// validated. given reports whether the file has a key.
	Adjust func(c *C, given func(key string) bool)
	// Derive, if set, sets the fields of c that are no keys. It comes before
	// Validate.
	Derive func(c *C, f *Faults)
	// Validate adds what is wrong with the values of c.
	Validate func(c *C, f *Faults)
}

// Faults returns an empty list of faults of the section.
func (s Section[C]) Faults() *Faults { return &Faults{section: s.Name} }

// SetDefaults sets every key of c to its default. Two calls share no memory.
func (s Section[C]) SetDefaults(c *C) {
	for _, f := range s.fields(c) {
		f.setDefault()
	}
}

// Check returns all faults of c, joined, or nil.
func (s Section[C]) Check(c *C) error {
	f := s.Faults()
	s.Validate(c, f)
	return f.Err()
}

// Load sets the keys of c to the defaults, and then to the values of the file.
// Null stands for the default. It returns the members of the file that are no
// keys, also beside an error.
//
// The error joins all faults, each of type *Fault, and then c is as it was.
// Environment variables override the file, so if the file alone is not valid,
// it is validated together with them: a password may come from the environment
// only.
func (s Section[C]) Load(c *C, raw []byte) (unknown jsonobject.Object, err error) {
	members, err := s.parse(raw)
	if err != nil {
		return nil, err
	}
	next := *c
	s.SetDefaults(&next)
	found := s.Faults()
	unknown, given := s.read(&next, members, found)
	if s.Adjust != nil {
		s.Adjust(&next, func(key string) bool { return slices.Contains(given, key) })
	}
	fromFile := next
	if err = s.finish(&next, found.clone()); err != nil {
		next = fromFile
		if s.readEnv(&next, found) {
			err = s.finish(&next, found)
		}
	}
	if err != nil {
		return unknown, err
	}
	*c = next
	return unknown, nil
}

// finish derives, validates and returns all faults, those found before too.
func (s Section[C]) finish(c *C, f *Faults) error {
	if s.Derive != nil {
		s.Derive(c, f)
	}
	s.Validate(c, f)
	return f.Err()
}

func (s Section[C]) parse(raw []byte) (jsonobject.Object, error) {
	members, err := jsonobject.Parse(raw)
	if err == nil {
		return members, nil
	}
	f := s.Faults()
	if wrong, ok := errors.AsType[*jsonobject.TypeError](err); ok {
		if wrong.Kind == "null" {
			return nil, nil
		}
		f.Add("", "is not a JSON object")
	} else {
		f.Add("", "is not JSON: %v", err)
	}
	return nil, f.Err()
}

// read sets the keys that members hold. Of equal names the last counts, as in
// encoding/json. It returns the members that are no keys, and the keys that are
// there.
func (s Section[C]) read(c *C, members jsonobject.Object, f *Faults) (unknown jsonobject.Object, given []string) {
	fields := s.fields(c)
	for _, m := range members {
		i := slices.IndexFunc(fields, func(known field) bool { return s.sameName(known.name, m.Name) })
		if i < 0 {
			unknown = slices.DeleteFunc(unknown, func(u jsonobject.Member) bool { return u.Name == m.Name })
			unknown = append(unknown, m)
			continue
		}
		known := fields[i]
		given = append(given, known.name)
		if string(m.Value) == "null" || s.Lenient && known.typ.text && string(m.Value) == `""` {
			continue
		}
		if err := known.typ.decode(known.value, m.Value); err != nil {
			f.addAll(known.name, "", err)
			continue
		}
		known.replaceZero()
	}
	return unknown, given
}

func (s Section[C]) sameName(key, name string) bool {
	return key == name || s.Lenient && strings.EqualFold(key, name)
}

// ApplyEnv sets the keys of c whose environment variables are set, and
// validates the result. changed is false if there are none. The error joins all
// faults, each of type *Fault, and then c is as it was. Values are never
// quoted, because they may be secrets, but for items of lists.
func (s Section[C]) ApplyEnv(c *C) (changed bool, err error) {
	next := *c
	f := s.Faults()
	if !s.readEnv(&next, f) {
		return false, s.Check(c)
	}
	if err := s.finish(&next, f); err != nil {
		return false, err
	}
	*c = next
	return true, nil
}

// EnvIsSet reports whether an environment variable of the section is set.
func (s Section[C]) EnvIsSet() bool {
	return slices.ContainsFunc(s.EnvNames(), func(name string) bool {
		_, ok := os.LookupEnv(name)
		return ok
	})
}

// SecretFiles returns the paths of the files that the environment names for
// secrets of the section, as written there.
func (s Section[C]) SecretFiles() []string {
	var paths []string
	for _, key := range s.Keys() {
		if path := os.Getenv(key.EnvFile); key.EnvFile != "" && path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// readEnv sets the keys whose variables are set, and reports if there are any.
func (s Section[C]) readEnv(c *C, f *Faults) (found bool) {
	for _, known := range s.fields(c) {
		name, parse := known.env, known.typ.parse
		text, ok := os.LookupEnv(name)
		if known.secret {
			secret, inFile, err := lookupFile(name)
			if err != nil {
				f.Add(known.name, "environment variable %v", err)
				found = true
				continue
			}
			if inFile {
				name, text, ok, parse = name+FileSuffix, secret, true, known.typ.parseFile
			}
		}
		if !ok {
			continue
		}
		found = true
		if s.Lenient && (known.typ.text || known.typ.single) && strings.TrimSpace(text) == "" {
			continue
		}
		if err := parse(known.value, text); err != nil {
			f.addAll(known.name, fmt.Sprintf("environment variable %s: ", name), err)
			continue
		}
		known.replaceZero()
	}
	return found
}

// hidden stands for a secret, as in the displays of ipfs-cluster.
const hidden = `"XXX_hidden_XXX"`

// Encode writes the section to the file: all keys with their secrets, and
// then the members that are no keys.
func (s Section[C]) Encode(c *C, unknown jsonobject.Object) ([]byte, error) {
	return s.write(c, unknown, false)
}

// Display writes the section for people and logs: all keys, empty ones too.
// Secrets that are set are masked, and so are the values of members that are
// no keys, which may be misspelt secrets.
func (s Section[C]) Display(c *C, unknown jsonobject.Object) ([]byte, error) {
	return s.write(c, unknown, true)
}

func (s Section[C]) write(c *C, unknown jsonobject.Object, display bool) ([]byte, error) {
	var object jsonobject.Object
	for _, f := range s.fields(c) {
		empty := f.isEmpty()
		if f.omitEmpty && !display && empty {
			continue
		}
		value := json.RawMessage(hidden)
		if !display || !f.secret || empty {
			var err error
			if value, err = f.encode(); err != nil {
				return nil, &Fault{Section: s.Name, Key: f.name, Problem: err.Error()}
			}
		}
		object = append(object, jsonobject.Member{Name: f.name, Value: value})
	}
	for _, m := range unknown {
		if display {
			m.Value = json.RawMessage(hidden)
		}
		object = append(object, m)
	}
	return object.Encode()
}

// Names returns the names of members that are no keys, sorted.
func Names(unknown jsonobject.Object) []string {
	names := make([]string, len(unknown))
	for i, m := range unknown {
		names[i] = m.Name
	}
	slices.Sort(names)
	return names
}
