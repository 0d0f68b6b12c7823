// Package jsonobject reads and writes JSON objects member by member.
//
// encoding/json decodes an object into a struct or a map. Both lose the order
// of the members and all but the last of those with one name, and the first
// value of a wrong type hides the rest. Parse keeps everything as written and
// leaves the policy to the caller: which names are known, whether letter case
// matters and whether a repeated name is an error.
package jsonobject

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Member is one name and value of an object.
type Member struct {
	// Name is the decoded name. Half a surrogate pair has become U+FFFD.
	Name string
	// RawName is the name as written: a JSON string.
	RawName json.RawMessage
	// Value is the value as written.
	Value json.RawMessage
	// Repeated is set when an earlier member has the same name.
	Repeated bool
}

// Object is the members of an object in their order.
type Object []Member

// SyntaxError is the error of data that is not exactly one JSON document. It
// quotes at most one character of the data.
type SyntaxError struct {
	// Line is the line of the error, from 1.
	Line int
	// Offset is the number of bytes read before the error.
	Offset int64
	// Err is the error of encoding/json.
	Err error
}

// Error returns the text of encoding/json.
func (e *SyntaxError) Error() string { return e.Err.Error() }

// Unwrap returns the error of encoding/json.
func (e *SyntaxError) Unwrap() error { return e.Err }

// TypeError is the error of a JSON document that is not an object.
type TypeError struct {
	// Kind is what the document is instead, as from Kind.
	Kind string
}

// Error states what the document should be.
func (e *TypeError) Error() string { return "should be an object, not " + e.Kind }

// Parse returns the members of the one JSON object in data. The error is a
// *SyntaxError or a *TypeError. The result does not share memory with data.
func Parse(data []byte) (Object, error) {
	if err := checkSyntax(data); err != nil {
		return nil, err
	}
	if kind := Kind(data); kind != "an object" {
		return nil, &TypeError{Kind: kind}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil { // The opening brace.
		return nil, err
	}
	object := Object{}
	seen := make(map[string]bool)
	for dec.More() {
		var m Member
		before := dec.InputOffset()
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		m.Name = name.(string) // The syntax is right: a name is a string.
		m.RawName = bytes.Clone(bytes.TrimLeft(data[before:dec.InputOffset()], " \t\r\n,"))
		if err := dec.Decode(&m.Value); err != nil {
			return nil, err
		}
		m.Repeated = seen[m.Name]
		seen[m.Name] = true
		object = append(object, m)
	}
	return object, nil
}

// checkSyntax wants exactly one JSON document.
func checkSyntax(data []byte) error {
	var document json.RawMessage
	err := json.Unmarshal(data, &document)
	if err == nil {
		return nil
	}
	e := &SyntaxError{Line: 1, Err: err}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		e.Offset = min(syntax.Offset, int64(len(data)))
		e.Line += bytes.Count(data[:e.Offset], []byte("\n"))
	}
	return e
}

// Encode writes the object, indented. RawName is not used.
func (o Object) Encode() ([]byte, error) {
	var compact, pretty bytes.Buffer
	compact.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			compact.WriteByte(',')
		}
		name, err := json.Marshal(m.Name)
		if err != nil {
			return nil, err
		}
		compact.Write(name)
		compact.WriteByte(':')
		compact.Write(m.Value)
	}
	compact.WriteByte('}')
	if err := json.Indent(&pretty, compact.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("encoding an object: %w", err)
	}
	return pretty.Bytes(), nil
}

// Kind names the type of a well-formed JSON document, for error messages.
func Kind(data []byte) string {
	data = bytes.TrimLeft(data, " \t\r\n")
	if len(data) == 0 {
		return "nothing"
	}
	switch data[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	default:
		return "a number"
	}
}
