package kuborpc

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// client is one of a node that responds with the handler.
func client(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	addr, err := manet.FromNetAddr(server.Listener.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c := New(func() (multiaddr.Multiaddr, error) { return addr, nil })
	t.Cleanup(c.Close)
	return c
}

// late responds as Kubo does when an error comes after the response has begun.
func late(w http.ResponseWriter, body, message string) {
	w.Header().Set("Trailer", "X-Stream-Error")
	fmt.Fprint(w, body)
	w.(http.Flusher).Flush()
	w.Header().Set("X-Stream-Error", message)
}

func TestStream_ReadsAnErrorAfterTheResponseHasBegun(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, _ *http.Request) {
		late(w, `{"N":1}`+"\n"+`{"N":2}`+"\n", "write /blocks:\n  no space left on device")
	})
	stream, err := c.Stream(t.Context(), "pin/add", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var value struct{ N int }
	for n := 1; n <= 2; n++ {
		if err := stream.Next(&value); err != nil || value.N != n {
			t.Fatalf("value %d: %d, %v", n, value.N, err)
		}
	}
	err = stream.Next(&value)
	stated, ok := errors.AsType[*Error](err)
	if !ok || stated.Message != "write /blocks: no space left on device" || stated.Command != "pin/add" || stated.Code != http.StatusOK {
		t.Errorf("the end is %v", err)
	}
	if err := c.Call(t.Context(), "pin/add", nil, &value); err == nil {
		t.Error("Call does not see the error")
	}
}

func TestStream_Ends(t *testing.T) {
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    error
	}{
		"in order": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"N":1}`) }, io.EOF},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, `{"N":1}`)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := client(t, test.handler).Stream(t.Context(), "pin/add", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			var value struct{ N int }
			if err := stream.Next(&value); err != nil || value.N != 1 {
				t.Fatalf("%d, %v", value.N, err)
			}
			if err := stream.Next(&value); !errors.Is(err, test.want) {
				t.Errorf("the end is %v", err)
			}
		})
	}
}
