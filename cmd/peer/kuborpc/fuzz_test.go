package kuborpc

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// FuzzStream reads any reply of an IPFS node: it ends, and what the node states at its end is an error.
func FuzzStream(f *testing.F) {
	// As Kubo 0.42 answers pin/ls, pin/add with progress, and an error after the beginning.
	f.Add(200, `{"Cid":"bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy","Type":"recursive"}`+"\n"+
		`{"Cid":"bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4","Type":"recursive","Name":"a"}`+"\n", "")
	f.Add(200, `{"Progress":1,"Bytes":262158}`+"\n"+`{"Progress":2}`+"\n", "write /blocks: no space left on device")
	f.Add(200, `{"Pins":["bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"]}`, "context\ncanceled")
	f.Add(500, `{"Message":"block was not found locally (offline): ipld: could not find bafk","Code":0,"Type":"error"}`, "")
	f.Add(404, "404 page not found\n", "")
	f.Fuzz(func(t *testing.T, code int, body, trailer string) {
		resp := &http.Response{
			StatusCode: code, Status: "status", Body: io.NopCloser(strings.NewReader(body)), Trailer: http.Header{"X-Stream-Error": {trailer}},
		}
		if code != http.StatusOK {
			err := refusal("pin/add", resp)
			if stated, ok := errors.AsType[*Error](err); !ok || stated.Message == "" || strings.ContainsAny(stated.Message, "\r\n") {
				t.Errorf("%v", err)
			}
			return
		}
		s := &Stream{command: "pin/add", resp: resp, dec: json.NewDecoder(resp.Body)}
		var err error
		for range len(body) + 1 {
			var value struct {
				Cid, Type, Name string
				Progress        int
			}
			if err = s.Next(&value); err != nil {
				break
			}
		}
		switch stated, ok := errors.AsType[*Error](err); {
		case err == nil:
			t.Error("it does not end")
		case ok && (trailer == "" || strings.ContainsAny(stated.Message, "\r\n")):
			t.Errorf("the end is %v", err)
		case err == io.EOF && trailer != "":
			t.Errorf("%q is not told", trailer)
		}
	})
}
