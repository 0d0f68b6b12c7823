package sectionconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/jsonobject"
)

// Type is how the values of one Go type are written in the file and in the
// environment.
type Type struct {
	of    reflect.Type
	words string
	// text types are written as a JSON string.
	text bool
	// single types are lists that may be written as their only element.
	single bool
	// decode sets a field to a value of the file, parse to one of an
	// environment variable and parseFile to the content of a file with a
	// secret. Their errors describe the expected form. They quote at most an
	// item of a list or a repeated name.
	decode           func(field reflect.Value, raw json.RawMessage) error
	parse, parseFile func(field reflect.Value, text string) error
	// encode returns a value that encoding/json writes.
	encode func(field reflect.Value) (any, error)
}

// newType returns the Type of T with what differs from type to type.
func newType[T any](words string, decode func(json.RawMessage) (T, error), parse func(string) (T, error), encode func(T) (any, error)) Type {
	parseField := func(field reflect.Value, text string) error { return set(field, text, parse) }
	return Type{
		of: reflect.TypeFor[T](), words: words, parse: parseField, parseFile: parseField,
		decode: func(field reflect.Value, raw json.RawMessage) error { return set(field, raw, decode) },
		encode: func(field reflect.Value) (any, error) { return encode(*field.Addr().Interface().(*T)) },
	}
}

// set sets a field to what read makes of from, unless it fails.
func set[T, F any](field reflect.Value, from F, read func(F) (T, error)) error {
	value, err := read(from)
	if err == nil {
		*field.Addr().Interface().(*T) = value
	}
	return err
}

// errWant is the error of a value that has not the form of its key.
func errWant(what string) error { return errors.New("must be " + what) }

// Text is the type of values that are written as text. The empty text is the
// zero value. parse may quote its text only if values are no secrets.
func Text[T any](parse func(string) (T, error), format func(T) (string, error)) Type {
	parseText := func(text string) (value T, err error) {
		if text == "" {
			return value, nil
		}
		return parse(text)
	}
	return textType("text", "text in quotes", parseText, func(value T) (any, error) { return format(value) })
}

func textType[T any](words, want string, parse func(string) (T, error), encode func(T) (any, error)) Type {
	decode := func(raw json.RawMessage) (value T, err error) {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return value, errWant(want)
		}
		return parse(text)
	}
	t := newType(words, decode, parse, encode)
	t.text = true
	return t
}

// List is the type of lists whose items are written as text. Its words in the
// table of keys are "list of " and items.
func List[T any](items string, parse func(string) (T, error), format func(T) string) Type {
	decode := func(raw json.RawMessage) ([]T, error) { return decodeList(raw, parse) }
	return newType("list of "+items, decode, func(text string) ([]T, error) { return parseList(text, decode, parse) },
		func(list []T) (any, error) { return formatList(list, format), nil })
}

// AddressList is List for keys with the option single: in the file, a list of
// one address is written as this address, and may be written as a list.
func AddressList[T any](parse func(string) (T, error), format func(T) string) Type {
	decode := func(raw json.RawMessage) ([]T, error) {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			list, err := decodeList(raw, parse)
			if _, wrong := errors.AsType[*wrongListError](err); wrong {
				err = errWant("an address or a list of addresses")
			}
			return list, err
		}
		if text == "" {
			return []T{}, nil
		}
		return parseItems([]string{text}, parse)
	}
	t := newType("address or list of addresses", decode, func(text string) ([]T, error) { return parseList(text, decode, parse) },
		func(list []T) (any, error) {
			if len(list) == 1 {
				return format(list[0]), nil // As ipfs-cluster writes it.
			}
			return formatList(list, format), nil
		})
	t.single = true
	return t
}

// wrongListError is the error of a value that is no list of texts.
type wrongListError struct{}

func (*wrongListError) Error() string { return `must be a list of texts, such as ["a", "b"]` }

func decodeList[T any](raw json.RawMessage, parse func(string) (T, error)) ([]T, error) {
	var texts []string
	if json.Unmarshal(raw, &texts) != nil {
		return nil, &wrongListError{}
	}
	return parseItems(texts, parse)
}

// parseItems joins the errors of all items. It never returns a nil list
// without an error.
func parseItems[T any](texts []string, parse func(string) (T, error)) ([]T, error) {
	list := make([]T, 0, len(texts))
	var errs []error
	for _, text := range texts {
		item, err := parse(text)
		if err != nil {
			errs = append(errs, err)
		}
		list = append(list, item)
	}
	return list, errors.Join(errs...)
}

func formatList[T any](list []T, format func(T) string) []string {
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = format(item)
	}
	return texts
}

// builtinTypes are the types that every section may use.
func builtinTypes() []Type {
	itself := func(text string) (string, error) { return text, nil }
	plain := func(text string) string { return text }
	return []Type{
		textType("text", "text in quotes", itself, func(text string) (any, error) { return text, nil }),
		textType("duration", `a duration in quotes, such as "30s"`, parseDuration,
			func(d time.Duration) (any, error) { return d.String(), nil }),
		numberType("true or false", strconv.ParseBool),
		numberType("a whole number", parseInt[int]),
		numberType("a whole number", parseInt[int64]),
		List("texts", itself, plain),
		AddressList(itself, plain),
		mapType(),
		headersType(),
	}
}

// numberType is the type of what JSON writes without quotes.
func numberType[T any](want string, parse func(string) (T, error)) Type {
	decode := func(raw json.RawMessage) (value T, err error) {
		if json.Unmarshal(raw, &value) != nil {
			return value, errWant(want)
		}
		return value, nil
	}
	return newType(strings.TrimPrefix(want, "a "), decode, func(text string) (T, error) {
		value, err := parse(text)
		if err != nil {
			err = errWant(want)
		}
		return value, err
	}, func(value T) (any, error) { return value, nil })
}

// parseInt accepts the prefixes 0x, 0o and 0b, as ipfs-cluster does.
func parseInt[T int | int64](text string) (T, error) {
	n, err := strconv.ParseInt(text, 0, reflect.TypeFor[T]().Bits())
	return T(n), err
}

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, errWant("a duration such as 30s or 5m")
	}
	return d, nil
}

func decodeTexts(raw json.RawMessage) (map[string]string, error) {
	return decodeMap[string](raw, `an object of texts, such as {"name": "value"}`)
}

// mapType is the type of maps whose values may be any text. Nil is null.
func mapType() Type {
	decode := decodeTexts
	t := newType("object of texts", decode, func(text string) (map[string]string, error) { return parseMap(text, decode) },
		func(m map[string]string) (any, error) { return m, nil })
	t.parseFile = func(field reflect.Value, text string) error {
		return set(field, text, func(text string) (map[string]string, error) { return parseMapFile(text, decode) })
	}
	return t
}

// headersType is the type of maps from the names of HTTP headers to values.
func headersType() Type {
	decode := func(raw json.RawMessage) (map[string][]string, error) {
		return decodeMap[[]string](raw, `an object of lists, such as {"Name": ["value"]}`)
	}
	return newType("object of lists", decode, func(text string) (map[string][]string, error) { return parseHeaders(text, decode) },
		func(m map[string][]string) (any, error) {
			if m == nil {
				m = map[string][]string{} // Null would be the default.
			}
			return m, nil
		})
}

// decodeMap refuses a repeated name: encoding/json would take the last.
func decodeMap[V any](raw json.RawMessage, want string) (map[string]V, error) {
	members, err := jsonobject.Parse(raw)
	if err != nil {
		return nil, errWant(want)
	}
	values := make(map[string]V, len(members))
	for _, m := range members {
		var value V
		if json.Unmarshal(m.Value, &value) != nil {
			return nil, errWant(want)
		}
		if m.Repeated {
			return nil, errRepeated(m.Name)
		}
		values[m.Name] = value
	}
	return values, nil
}

func errRepeated(name string) error { return fmt.Errorf("has the name %q twice", name) }
