package pinsvc

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// decoderSeeds are bodies of clients and bodies at the edges of what the fast reading takes.
func decoderSeeds(t testing.TB) []string {
	var golden []bodyGolden
	readGolden(t, "bodies.json", &golden)
	seeds := []string{
		"", " ", "{", "{}", "[]", "null", `{"cid":}`, `{"cid"`, `{"cid":"`, body("") + "x", body("") + "\x00", "\x00" + body(""), " \t\r\n" + body("") + " \t\r\n",
		"{ \"cid\" : \"" + textV0 + "\" , \"name\" : \"a\" }", `{"cid":"` + textV1 + `",}`, `{,"cid":"` + textV1 + `"}`, `{"cid":"x"}`, `{"cid":null}`,
		body(`"cid":"` + textV0 + `"`), body(`"name":"a","name":"b"`), body(`"x":1`), body(`"Name":"a"`), body(`"na\u006de":"a"`), body(`"name":"\u0000"`),
		body("\"name\":\"\x01\""), body("\"name\":\"\x7f\u2028é😀\""), body("\"name\":\"\xff\""), body(`"name":1`), body(`"name":null`), body(`"name":"` + strings.Repeat("é", 256) + `"`),
		body(`"meta":{}`), body(`"meta":{"a":"1","b":"2"}`), body(`"meta":{"a":"1","a":"2"}`), body(`"meta":{"a":1}`), body(`"meta":{"a":"1",}`), body(`"meta":{"":""}`),
		body(`"meta":{"a" "b"}`), body(`"meta":[]`), body(`"meta":{"pinsvc.x":"1"}`), body(`"meta":{"a":"1"`),
		body(`"origins":[]`), body(`"origins":["` + textOrigin + `"]`), body(`"origins":["` + textOrigin + `","` + textOrigin + `"]`), body(`"origins":["x","` + textOrigin + `","/ip4/203.0.113.1"]`),
		body(`"origins":["` + textOrigin + `",]`), body(`"origins":["` + textOrigin + `" "` + textOrigin + `"]`), body(`"origins":[1]`), body(`"origins":{}`), body(`"origins":["` + strings.Repeat("x", MaxOriginBytes+1) + `"]`),
		body(`"origins":["` + strings.Replace(textOrigin, "/", `\/`, 1) + `"]`), body(`"origins":[""]`), body(`"origins":["/"]`),
	}
	for _, g := range golden {
		seeds = append(seeds, g.Body)
	}
	var many []string
	for i := range MaxOrigins + 3 {
		many = append(many, fmt.Sprintf(`"/ip4/203.0.113.%d/tcp/4001%s"`, i, textPeer))
	}
	return append(seeds, body(`"origins":[`+strings.Join(many, ",")+`]`))
}

// compare reads a body with decodePin, which knows no short cuts, and with a Decoder that has not
// and that has read it before.
func compare(t *testing.T, d *Decoder, data []byte) {
	t.Helper()
	given := bytes.Clone(data)
	want, wantOrigins, wantErr := decodePin(data)
	want.Origins = nil // Of the decoded origins, they are selected later.
	for range 2 {
		got, origins, err := d.decode(data)
		got.Origins = nil
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(origins, wantOrigins) {
			t.Fatalf("%q was read as %+v, %+v, %v\nwant %+v, %+v, %v", data, got, origins, err, want, wantOrigins, wantErr)
		}
	}
	if !bytes.Equal(data, given) {
		t.Fatal("the body was changed")
	}
}

// FuzzDecoder checks that the fast reading of bodies is the same as the thorough one.
func FuzzDecoder(f *testing.F) {
	for _, seed := range decoderSeeds(f) {
		f.Add([]byte(seed))
	}
	var d Decoder
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, &d, data) })
}

// Every body that clients are known to send is read by the fast way, or it would have no use.
func TestDecoder_ReadsTheBodiesOfClientsFast(t *testing.T) {
	for _, members := range []string{"", `"name":"a"`, `"name":"a","meta":{"app":"x"}`, `"origins":["` + textOrigin + `","x"],"name":"é"`} {
		if _, _, ok := new(Decoder).scanPin([]byte(body(members))); !ok {
			t.Errorf("%s is not read fast", body(members))
		}
	}
}

// What was read first is forgotten, and what is asked for again and again is not.
func TestOriginCache_IsBounded(t *testing.T) {
	var c originCache
	often := []byte(textOrigin)
	first, ok := c.parse(often)
	if !ok {
		t.Fatal("not read")
	}
	for i := range 5 * maxRecentOrigins {
		text := fmt.Appendf(nil, "/ip4/203.0.%d.%d/tcp/4001%s", i/256, i%256, textPeer)
		if addr, ok := c.parse(text); !ok || addr.String() != string(text) {
			t.Fatalf("%s is %v", text, addr)
		}
		if again, ok := c.parse(often); !ok || &again[0] != &first[0] {
			t.Fatal("it is read again")
		}
		if _, ok := c.parse([]byte("/ip4/1.2.3.4/tcp/x")); ok {
			t.Fatal("what is no address was read")
		}
	}
	if n := len(c.recent) + len(c.old); n > 2*maxRecentOrigins {
		t.Errorf("%d origins are kept", n)
	}
}

// Requests come at once.
func TestDecoder_IsSafeForConcurrentUse(t *testing.T) {
	var d Decoder
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 500 {
				text := fmt.Sprintf("/ip4/203.0.113.%d/tcp/4001%s", (n+i)%100, textPeer)
				pin, _, err := d.Decode([]byte(body(`"origins":["` + text + `"]`)))
				if err != nil || pin.Origins[0].String() != text {
					t.Errorf("%v, %v", pin, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkDecoder(b *testing.B) {
	var origins []string
	for i := range 6 {
		origins = append(origins, fmt.Sprintf(`"/ip4/203.0.113.%d/tcp/4001%s"`, i, textPeer))
	}
	data := []byte(body(`"name":"a name","meta":{"album":"new"},"origins":[` + strings.Join(origins, ",") + `]`))
	for name, read := range map[string]func() error{
		"remembered": func() func() error {
			var d Decoder
			return func() error { _, _, err := d.Decode(data); return err }
		}(),
		"at first": func() error { _, _, err := new(Decoder).Decode(data); return err },
		"thorough": func() error { _, _, err := decodePin(data); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
