package pinsvc

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/jsonobject"
)

// decodeStringMap reads a JSON object of strings. An empty one is nil.
func decodeStringMap(data []byte) (map[string]string, error) {
	object, err := parseObject(data)
	if err != nil || len(object) == 0 {
		return nil, err
	}
	pairs := make(map[string]string, len(object))
	for _, m := range object {
		if pairs[m.Name], err = decodeString(m.Value); err != nil {
			return nil, fmt.Errorf("the value of %s %w", quote(m.Name), err)
		}
	}
	return pairs, nil
}

// parseObject reads one JSON object. It refuses a repeated name, of which
// encoding/json would take the last, and a name that is no Unicode text.
func parseObject(data []byte) (jsonobject.Object, error) {
	object, err := jsonobject.Parse(data)
	if syntax, ok := errors.AsType[*jsonobject.SyntaxError](err); ok {
		return nil, fmt.Errorf("not one JSON document: %w (at byte %d)", syntax, syntax.Offset)
	}
	if err != nil {
		return nil, err
	}
	for _, m := range object {
		if _, err := decodeString(m.RawName); err != nil {
			return nil, fmt.Errorf("a key %w", err)
		}
		if m.Repeated {
			return nil, fmt.Errorf("the key %s comes twice", quote(m.Name))
		}
	}
	return object, nil
}

// decodeString reads one JSON string. It refuses half a surrogate pair, which is
// no Unicode text and which encoding/json turns into U+FFFD.
func decodeString(data []byte) (string, error) {
	var text string
	if len(data) == 0 || data[0] != '"' {
		return "", fmt.Errorf("should be a string, not %s", jsonobject.Kind(data))
	}
	if err := json.Unmarshal(data, &text); err != nil {
		return "", err
	}
	if hasLoneSurrogate(data) {
		return "", errors.New("has half a surrogate pair, which is no Unicode text")
	}
	return text, nil
}

// hasLoneSurrogate checks the escapes of a well-formed JSON string.
func hasLoneSurrogate(data []byte) bool {
	var high rune // the escape just before, if it begins a pair
	for i := 0; i < len(data); {
		if data[i] != '\\' || data[i+1] != 'u' {
			if high != 0 {
				return true
			}
			if data[i] == '\\' {
				i++
			}
			i++
			continue
		}
		unit, err := strconv.ParseUint(string(data[i+2:i+6]), 16, 16)
		if err != nil {
			return true
		}
		r := rune(unit)
		switch {
		case high != 0:
			if utf16.DecodeRune(high, r) == utf8.RuneError {
				return true
			}
			high = 0
		case r >= 0xd800 && r < 0xdc00:
			high = r
		case utf16.IsSurrogate(r):
			return true
		}
		i += 6
	}
	return high != 0
}
