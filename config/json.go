package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/config"
	logging "github.com/ipfs/go-log/v2"
)

var logger = logging.Logger("pinsvcapi")

// member is one name and value of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// LoadJSON reads the section as written in service.json. Keys that are left
// out or null get their defaults; unknown ones are logged and kept. Files are
// looked for below the folder given to SetBaseDir.
//
// It returns all faults at once, joined, each of type *Fault, and then leaves
// the keys of the Config as they were. Environment variables override the
// file, so when the file alone is not valid they are applied before it is
// judged: a password may come from the environment only.
func (c *Config) LoadJSON(raw []byte) error {
	members, err := parseObject(raw)
	if err != nil {
		return err
	}
	var f faults
	s := defaultSection()
	c.unknown = s.read(members, &f)
	c.warnUnknown()
	next, err := s.buildAlone(c.BaseDir, f)
	if err != nil && s.readEnv(&f) {
		next = s.build(c.BaseDir, &f)
		err = f.err()
	}
	if err != nil {
		return err
	}
	c.adopt(next)
	c.warnExposed()
	c.warnColons()
	c.warnEveryProxy()
	return nil
}

// buildAlone is build with the faults found so far, which it does not add to.
func (s *section) buildAlone(baseDir string, found faults) (Config, error) {
	f := found.clone()
	next := s.build(baseDir, &f)
	return next, f.err()
}

// parseObject returns the members of a JSON object in their order. Null is an
// empty object, as for ipfs-cluster.
func parseObject(raw []byte) ([]member, error) {
	if !json.Valid(raw) {
		var discard any
		return nil, &Fault{Problem: fmt.Sprintf("is not JSON: %v", json.Unmarshal(raw, &discard))}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	start, err := dec.Token()
	if err != nil || start == nil {
		return nil, err
	}
	if start != json.Delim('{') {
		return nil, &Fault{Problem: "is not a JSON object"}
	}
	var members []member
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, &Fault{Problem: err.Error()}
		}
		m := member{name: name.(string)}
		if err := dec.Decode(&m.value); err != nil {
			return nil, &Fault{Problem: err.Error()}
		}
		members = append(members, m)
	}
	return members, nil
}

// read sets the keys that members hold, as encoding/json would: letter case
// does not matter, and of two equal names the last counts. It returns the
// members that are no keys.
func (s *section) read(members []member, f *faults) (unknown []member) {
	var corsSeen = map[string]bool{}
	for _, m := range members {
		key, ok := s.lookup(m.name)
		if !ok {
			unknown = slices.DeleteFunc(unknown, func(u member) bool { return u.name == m.name })
			unknown = append(unknown, m)
			continue
		}
		if strings.HasPrefix(key.name, "cors_") {
			corsSeen[key.name] = true
		}
		if err := key.setJSON(m.value); err != nil {
			f.add(key.name, "%v", err)
		}
	}
	if len(corsSeen) == corsKeys && s.hasUpstreamCORS() {
		s.setDefaultCORS()
	}
	return unknown
}

// setJSON sets the key to a value of the file. Errors say what is expected
// and never quote the value.
func (k sectionKey) setJSON(raw json.RawMessage) error {
	if string(raw) == "null" {
		return nil
	}
	switch target := k.value.Addr().Interface().(type) {
	case *duration:
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return errWant("a duration in quotes, such as \"30s\"")
		}
		return setDuration(target, text)
	case *config.Strings:
		var list config.Strings
		if json.Unmarshal(raw, &list) != nil {
			return errWant("an address or a list of addresses")
		}
		if len(list) > 0 {
			*target = list
		}
		return nil
	default:
		return setPlain(k.value, raw)
	}
}

// setPlain sets a key whose Go type encoding/json knows. It decodes into a
// fresh value, because maps would be merged with what is there.
func setPlain(value reflect.Value, raw json.RawMessage) error {
	fresh := reflect.New(value.Type())
	if json.Unmarshal(raw, fresh.Interface()) != nil {
		return errWant(wantedJSON(value.Interface()))
	}
	value.Set(fresh.Elem())
	return nil
}

func wantedJSON(value any) string {
	switch value.(type) {
	case string:
		return "text in quotes"
	case int, int64:
		return "a whole number"
	case bool:
		return "true or false"
	case []string:
		return `a list of texts, such as ["a", "b"]`
	case map[string]string:
		return `an object of texts, such as {"name": "value"}`
	case map[string][]string:
		return `an object of lists, such as {"Name": ["value"]}`
	default:
		panic(fmt.Sprintf("a key of type %T has no description", value))
	}
}

func setDuration(target *duration, text string) error {
	if text == "" {
		return nil
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return errWant("a duration such as 30s or 5m")
	}
	*target = duration(parsed)
	return nil
}

// errWant is the error of a value that is of another type than its key.
func errWant(what string) error { return fmt.Errorf("must be %s", what) }

// ToJSON writes the section with all keys, its secrets, and the unknown keys
// of the file that it was loaded from.
func (c *Config) ToJSON() ([]byte, error) { return c.encode(false) }

// encode writes the section, in the order of the keys. For display, secrets
// and the values of unknown keys, which may be misspelt secrets, are masked,
// and empty keys are shown too.
func (c *Config) encode(display bool) ([]byte, error) {
	s, err := c.section()
	if err != nil {
		return nil, err
	}
	var members []member
	for _, key := range s.keys() {
		if key.omitEmpty && !display && isEmpty(key.value) {
			continue
		}
		raw := json.RawMessage(hidden)
		if !display || !key.secret || isEmpty(key.value) {
			if raw, err = json.Marshal(key.value.Interface()); err != nil {
				return nil, fmt.Errorf("%s: %w", key.name, err)
			}
		}
		members = append(members, member{key.name, raw})
	}
	for _, m := range c.unknown {
		if display {
			m.value = json.RawMessage(hidden)
		}
		members = append(members, m)
	}
	return encodeObject(members)
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	default:
		return v.IsZero()
	}
}

func encodeObject(members []member) ([]byte, error) {
	var compact, pretty bytes.Buffer
	compact.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			compact.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		compact.Write(name)
		compact.WriteByte(':')
		compact.Write(m.value)
	}
	compact.WriteByte('}')
	err := json.Indent(&pretty, compact.Bytes(), "", "  ")
	return pretty.Bytes(), err
}
