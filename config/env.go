package config

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/ipfs-cluster/ipfs-cluster/config"
)

// ApplyEnvVars sets the keys whose environment variables are set (see Keys)
// and validates the result. The forms are those of ipfs-cluster:
//
//   - Lists are separated by commas: "/ip4/127.0.0.1/tcp/1,/ip6/::1/tcp/1".
//   - Maps are name:value pairs separated by commas: "alice:secret,bob:hidden".
//     A value may hold colons but no comma; a header has one value.
//   - An empty variable leaves text, durations and addresses as they are, and
//     empties other lists and maps.
//
// All faults come at once, as from LoadJSON, and then nothing is changed. It
// never quotes a value, which may be a secret.
func (c *Config) ApplyEnvVars() error {
	s, err := c.section()
	if err != nil {
		return err
	}
	var f faults
	if !s.readEnv(&f) {
		return c.Validate()
	}
	next := s.build(c.BaseDir, &f)
	if err := f.err(); err != nil {
		return err
	}
	if s.SSLCertFile == "" {
		next.TLS = c.TLS // Set by an embedder.
	}
	c.adopt(next)
	c.warnExposed()
	c.warnColons()
	c.warnEveryProxy()
	return nil
}

// readEnv sets the keys whose variables are set, and tells if there are any.
func (s *section) readEnv(f *faults) (any bool) {
	for _, key := range s.keys() {
		text, ok := os.LookupEnv(key.env)
		if !ok {
			continue
		}
		any = true
		if err := key.setText(text); err != nil {
			f.add(key.name, "environment variable %s %v", key.env, err)
		}
	}
	return any
}

// setText sets the key to the text of its environment variable.
func (k sectionKey) setText(text string) error {
	var err error
	switch target := k.value.Addr().Interface().(type) {
	case *duration:
		return setDuration(target, text)
	case *config.Strings:
		if list := splitList(text); len(list) > 0 {
			*target = list
		}
	case *string:
		if text != "" {
			*target = text
		}
	case *int:
		*target, err = parseInt[int](text, strconv.IntSize)
	case *int64:
		*target, err = parseInt[int64](text, 64)
	case *bool:
		if *target, err = strconv.ParseBool(text); err != nil {
			err = errWant("true or false")
		}
	case *[]string:
		*target = splitList(text)
	case *map[string]string:
		*target, err = splitPairs(text)
	case *map[string][]string:
		*target, err = splitHeaders(text)
	default:
		panic(fmt.Sprintf("a key of type %T cannot be set by a variable", target))
	}
	return err
}

func parseInt[T int | int64](text string, bits int) (T, error) {
	n, err := strconv.ParseInt(text, 0, bits)
	if err != nil {
		return 0, errWant("a whole number")
	}
	return T(n), nil
}

func splitList(text string) []string {
	list := []string{}
	if strings.TrimSpace(text) == "" {
		return list
	}
	for item := range strings.SplitSeq(text, ",") {
		list = append(list, strings.TrimSpace(item))
	}
	return list
}

// splitPairs returns an empty map, not nil, for an empty text: credentials
// that someone forgot to fill in must not become a service without any.
func splitPairs(text string) (map[string]string, error) {
	pairs := map[string]string{}
	if strings.TrimSpace(text) == "" {
		return pairs, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(item, ":")
		if !ok {
			return nil, errWant("name:value pairs separated by commas")
		}
		pairs[name] = value
	}
	return pairs, nil
}

func splitHeaders(text string) (map[string][]string, error) {
	pairs, err := splitPairs(text)
	if err != nil {
		return nil, err
	}
	headers := make(map[string][]string, len(pairs))
	for name, value := range pairs {
		headers[name] = []string{value}
	}
	return headers, nil
}
