package jsonobject

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestParse_KeepsOrderAndRepeatedNames(t *testing.T) {
	object, err := Parse([]byte(" {\"b\" : [1, {\"x\":2}],\n\t\"a\":null , \"b\":\"c\", \"\\u0061\":1 } "))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range object {
		got = append(got, fmt.Sprintf("%s %s %s %v", m.Name, m.RawName, m.Value, m.Repeated))
	}
	want := []string{`b "b" [1, {"x":2}] false`, `a "a" null false`, `b "b" "c" true`, `a "\u0061" 1 true`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestParse_ResultSharesNoMemoryWithTheData(t *testing.T) {
	data := []byte(`{"name":"value"}`)
	object, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = 'x'
	}
	if m := object[0]; m.Name != "name" || string(m.RawName) != `"name"` || string(m.Value) != `"value"` {
		t.Errorf("changed to %v", m)
	}
}

func TestParse_SyntaxErrorsHaveTheLine(t *testing.T) {
	for data, line := range map[string]int{
		"": 1, "{": 1, `{"a" 1}`: 1, "{\n\"a\": 1,\n}": 3, "{}\n{}": 2, "{\"a\":\n\n s3cr3t}": 3, `{"a": 1,}`: 1, "{'a': 1}": 1,
	} {
		_, err := Parse([]byte(data))
		syntax, ok := errors.AsType[*SyntaxError](err)
		if !ok || syntax.Line != line || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: got %v, line %d, want line %d", data, err, syntax.Line, line)
		}
	}
}

func TestParse_RefusesWhatIsNoObject(t *testing.T) {
	for data, kind := range map[string]string{
		"null": "null", " [1]": "an array", `"a"`: "a string", "-1": "a number", "true": "a boolean", "false": "a boolean",
	} {
		_, err := Parse([]byte(data))
		wrong, ok := errors.AsType[*TypeError](err)
		if !ok || wrong.Kind != kind || err.Error() != "should be an object, not "+kind {
			t.Errorf("%s: got %v", data, err)
		}
	}
}

func TestEncode_RefusesValuesThatAreNoJSON(t *testing.T) {
	if _, err := (Object{{Name: "a", Value: json.RawMessage("b")}}).Encode(); err == nil {
		t.Error("accepted")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"a":[{"b":"}"}]}`, `{"\ud800":"\\\"","":null}`, `[`, "null", "{\"a\":\"\xff\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		object, err := Parse(data)
		var want map[string]json.RawMessage
		if wantErr := json.Unmarshal(data, &want); (err == nil) != (wantErr == nil && want != nil) {
			t.Fatalf("%q: %v, encoding/json: %v", data, err, wantErr)
		}
		if err != nil {
			return
		}
		last := make(map[string]json.RawMessage) // As encoding/json, which takes the last of a name.
		for _, m := range object {
			if _, seen := last[m.Name]; m.Repeated != seen {
				t.Fatalf("%q: repeated is %v", m.Name, m.Repeated)
			}
			last[m.Name] = m.Value
			var name string
			if err := json.Unmarshal(m.RawName, &name); err != nil || name != m.Name {
				t.Fatalf("%q: raw name %s", m.Name, m.RawName)
			}
		}
		if !maps.EqualFunc(last, want, slices.Equal[json.RawMessage]) {
			t.Fatalf("%s, encoding/json: %s", last, want)
		}
		encoded, err := object.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(encoded)
		if err != nil || len(again) != len(object) {
			t.Fatalf("%s: %v", encoded, err)
		}
	})
}
