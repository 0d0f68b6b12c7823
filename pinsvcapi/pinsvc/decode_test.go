package pinsvc

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
)

// body writes a request with the given further members.
func body(members string) string {
	if members != "" {
		members = "," + members
	}
	return `{"cid":"` + textV1 + `"` + members + `}`
}

func TestDecoder_Reads(t *testing.T) {
	pin := func(change func(*Pin)) Pin {
		p := Pin{CID: cid.MustParse(textV1)}
		change(&p)
		return p
	}
	origins := func(texts ...string) func(*Pin) {
		return func(p *Pin) {
			for _, text := range texts {
				p.Origins = append(p.Origins, multiaddr.StringCast(text))
			}
		}
	}
	full := strings.Repeat("x", MaxMetaBytes-1)
	tests := map[string]Pin{
		body(""):                             pin(func(*Pin) {}),
		" \r\n" + body("") + "\t\n":          pin(func(*Pin) {}),
		`{"cid":"` + textV0 + `"}`:           {CID: cid.MustParse(textV0)},
		body(`"name":""`):                    pin(func(*Pin) {}),
		body(`"name":"<a> & \"b\""`):         pin(func(p *Pin) { p.Name = `<a> & "b"` }),
		body(`"name":"\ud83d\ude00\\ud800"`): pin(func(p *Pin) { p.Name = `😀\ud800` }),
		body(`"name":"` + strings.Repeat("😀", MaxNameRunes) + `"`): pin(func(p *Pin) { p.Name = strings.Repeat("😀", MaxNameRunes) }),
		body(`"name":null,"origins":null,"meta":null`):             pin(func(*Pin) {}),
		body(`"origins":[],"meta":{}`):                             pin(func(*Pin) {}),
		body(`"x":{"name":1},"y":[[]],"z":null`):                   pin(func(*Pin) {}),
		body(`"meta":{"":"","é":"1"}`):                             pin(func(p *Pin) { p.Meta = map[string]string{"": "", "é": "1"} }),
		body(`"meta":{"k":"` + full + `"}`):                        pin(func(p *Pin) { p.Meta = map[string]string{"k": full} }),
		body(`"meta":{"x.pinsvc.":"1"}`):                           pin(func(p *Pin) { p.Meta = map[string]string{"x.pinsvc.": "1"} }),
		body(`"origins":["` + textOrigin + `"]`):                   pin(origins(textOrigin)),
		body(`"origins":["` + textPeer + `"]`):                     pin(origins(textPeer)),
		body(`"origins":["` + textOrigin + `","` + strings.Replace(textOrigin, "/p2p/", "/ipfs/", 1) + `"]`): pin(origins(textOrigin)),
	}
	for text, want := range tests {
		got, _, err := new(Decoder).Decode([]byte(text))
		if err != nil {
			t.Errorf("%.90s: %v", text, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%.90s: read as %+v, want %+v", text, got, want)
		}
	}
}

func TestDecoder_Refuses(t *testing.T) {
	pairs := make(map[string]string)
	for i := range MaxMetaPairs + 1 {
		pairs[fmt.Sprint(i)] = ""
	}
	many, err := json.Marshal(pairs)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string][]string{
		"the body is":           {"", " \n", body("\"name\":\"\xff\"")},
		"not one JSON document": {"{", "cid", body("") + "x", body("") + body(""), body("") + "]", `{"cid":}`, "\ufeff" + body("")},
		"should be an object":   {"null", "[]", `"` + textV1 + `"`, "1", "true"},
		"cid": {"{}", `{"cid":null}`, `{"cid":""}`, `{"cid":1}`, `{"cid":["` + textV1 + `"]}`, `{"cid":"foo"}`,
			`{"cid":{"/":"` + textV1 + `"}}`, `{"cid":"/ipfs/` + textV1 + `"}`, `{"cid":"` + textV1 + ` "}`,
			`{"cid":"` + cid.NewCidV1(cid.Raw, identity(MaxDigestBytes+1)).String() + `"}`},
		"the key":   {body(`"cid":"` + textV0 + `"`), body(`"name":"a","name":"a"`), body(`"x":1,"x":1`)},
		"a key":     {body(`"\ud800":1`)},
		"CID":       {`{"CID":"` + textV1 + `"}`},
		"Name":      {`{"Name":"x","cid":"` + textV1 + `"}`},
		"name":      {body(`"name":1`), body(`"name":["a"]`), body(`"name":"` + strings.Repeat("é", 256) + `"`), body(`"name":"\ud800"`), body(`"name":"\ude00\ud83d"`)},
		"origins: ": {body(`"origins":"` + textOrigin + `"`), body(`"origins":{}`), body(`"origins":1`)},
		"origins[0]": {body(`"origins":[1]`), body(`"origins":[null]`),
			body(`"origins":["/ip4/203.0.113.1/tcp/4001"]`), body(`"origins":["` + textOrigin + `/p2p-circuit"]`)},
		"origins[2]": {body(`"origins":["foo","` + textOrigin + `","/ip4/203.0.113.1"]`)},
		"origins[1]": {body(`"origins":["` + textOrigin + `",1]`), body(`"origins":["` + textOrigin + `","/ip4/203.0.113.1"]`)},
		"meta": {body(`"meta":[]`), body(`"meta":"a"`), body(`"meta":{"a":1}`), body(`"meta":{"a":null}`), body(`"meta":{"a":{}}`), body(`"meta":{"a":true}`),
			body(`"meta":{"a":"1","a":"2"}`), body(`"meta":{"a":"\ud800"}`), body(`"meta":` + string(many)),
			body(`"meta":{"k":"` + strings.Repeat("x", MaxMetaBytes) + `"}`), body(`"meta":{"pinsvc.owners":"me"}`)},
	}
	for field, texts := range tests {
		for _, text := range texts {
			pin, _, err := new(Decoder).Decode([]byte(text))
			if err == nil {
				t.Errorf("%.90s was read as %+v", text, pin)
				continue
			}
			checkRefusal(t, text, field, err)
		}
	}
}

func TestDecoder_ExplainsReservedKeys(t *testing.T) {
	_, _, err := new(Decoder).Decode([]byte(body(`"meta":{"pinsvc.x":""}`)))
	if err == nil || !strings.Contains(err.Error(), `"pinsvc."`) {
		t.Errorf("got %v", err)
	}
}
