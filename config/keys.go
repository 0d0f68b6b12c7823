package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/ipfs-cluster/ipfs-cluster/config"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"
)

// Key describes one key of the section.
type Key struct {
	// Name is the key in the file.
	Name string
	// Env is the environment variable that overrides it.
	Env string
	// Type is what a value looks like, in words.
	Type string
	// Default is the value of a key that is left out, as JSON.
	Default string
	// Doc says what it is for, in Markdown of one line.
	Doc string
	// Secret keys are masked in every display.
	Secret bool
	// Added keys are unknown to ipfs-cluster.
	Added bool
}

// Keys returns every key of the section, in the order of the file.
func Keys() []Key {
	s := defaultSection()
	var keys []Key
	for _, k := range s.keys() {
		value, err := json.Marshal(k.value.Interface())
		if err != nil {
			panic(fmt.Sprintf("the default of %s is no JSON: %v", k.name, err))
		}
		keys = append(keys, Key{
			Name: k.name, Env: k.env, Type: typeName(k.value.Interface()),
			Default: string(value), Doc: k.doc, Secret: k.secret, Added: k.added,
		})
	}
	return keys
}

// EnvNames returns every environment variable that the section reads, those
// for files with secrets (see sectionconfig.LookupSecret) included.
func (*Config) EnvNames() []string {
	var names []string
	for _, k := range Keys() {
		names = append(names, k.Env)
		if k.Secret {
			names = append(names, k.Env+sectionconfig.FileSuffix)
		}
	}
	return names
}

// KeyTable returns the keys as the Markdown table that the README shows.
func KeyTable() string {
	var b strings.Builder
	b.WriteString("| Key | Type | Default | Meaning |\n| --- | --- | --- | --- |\n")
	for _, k := range Keys() {
		meaning := k.Doc
		if k.Added {
			meaning += " *Added by this project.*"
		}
		fmt.Fprintf(&b, "| `%s`<br>`%s` | %s | `%s` | %s |\n", k.Name, k.Env, k.Type, k.Default, meaning)
	}
	return b.String()
}

// sectionKey is a key together with its field of one section.
type sectionKey struct {
	name, env, doc           string
	omitEmpty, secret, added bool
	value                    reflect.Value
}

// keys returns the keys of s. Setting their values changes s.
func (s *section) keys() []sectionKey {
	v := reflect.ValueOf(s).Elem()
	keys := make([]sectionKey, 0, v.NumField())
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		keys = append(keys, sectionKey{
			name:      name,
			env:       envPrefix + strings.ToUpper(field.Name),
			doc:       field.Tag.Get("doc"),
			omitEmpty: options == "omitempty",
			secret:    field.Tag.Get("secret") == "true",
			added:     field.Tag.Get("added") == "true",
			value:     v.Field(i),
		})
	}
	return keys
}

// lookup finds a key by its name, in any letter case as encoding/json does.
func (s *section) lookup(name string) (sectionKey, bool) {
	for _, k := range s.keys() {
		if strings.EqualFold(k.name, name) {
			return k, true
		}
	}
	return sectionKey{}, false
}

func typeName(value any) string {
	switch value.(type) {
	case config.Strings:
		return "address or list of addresses"
	case duration:
		return "duration"
	case string:
		return "text"
	case int, int64:
		return "whole number"
	case bool:
		return "true or false"
	case []string:
		return "list of texts"
	case map[string]string:
		return "object of texts"
	case map[string][]string:
		return "object of lists"
	default:
		panic(fmt.Sprintf("a key of type %T has no name", value))
	}
}
