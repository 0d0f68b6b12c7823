package pinsvcapi

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// description is openapi.yaml, strict about what a response may hold: fields
// that no client expects are allowed in the Pin of a request alone.
type description struct {
	doc    *openapi3.T
	router routers.Router
}

func loadDescription() (description, error) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		return description{}, err
	}
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder)
	strict := false
	doc.Components.Schemas["Pin"].Value.AdditionalProperties = openapi3.BoolSchema{Has: &strict}
	router, err := gorillamux.NewRouter(doc)
	return description{doc: doc, router: router}, err
}

var sharedDescription = sync.OnceValues(loadDescription)

func describe(t testing.TB) description {
	t.Helper()
	d, err := sharedDescription()
	if err != nil {
		t.Fatalf("openapi.yaml: %v", err)
	}
	return d
}

// checkContract compares any response with openapi.yaml, and those that it does
// not know, because the path or the method is none, against its Failure.
func (rep reply) checkContract(r *http.Request) {
	rep.t.Helper()
	if got := rep.header.Get("Location"); got != "" {
		rep.t.Errorf("%s %s redirects to %s", r.Method, r.URL.Path, got)
	}
	if !isHexID(rep.header.Get(requestIDHeader)) {
		rep.t.Errorf("%s %s has the request ID %q", r.Method, r.URL.Path, rep.header.Get(requestIDHeader))
	}
	switch {
	case r.Method == http.MethodOptions && rep.status == http.StatusNoContent, r.Method == http.MethodHead:
		if len(rep.body) > 0 {
			rep.t.Errorf("%s %s has the body %s", r.Method, r.URL.Path, rep.body)
		}
		return
	}
	d := describe(rep.t)
	known := r.Clone(r.Context())
	known.URL = &url.URL{Path: cleanPath(strings.TrimPrefix(r.URL.Path, rep.base))}
	route, vars, err := d.router.FindRoute(known)
	if err != nil {
		rep.checkFailure(d, r)
		return
	}
	err = openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: known, PathParams: vars, Route: route},
		Status:                 rep.status,
		Header:                 rep.header,
		Body:                   io.NopCloser(bytes.NewReader(rep.body)),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	if err != nil {
		rep.t.Errorf("%s %s: %d against openapi.yaml: %v\n%s", r.Method, r.URL.Path, rep.status, err, rep.body)
	}
	if declared := route.Operation.Responses.Status(rep.status); declared != nil && declared.Value.Content == nil && len(rep.body) > 0 {
		rep.t.Errorf("%s %s: %d with a body: %s", r.Method, r.URL.Path, rep.status, rep.body)
	}
}

// checkFailure is for paths and methods that openapi.yaml does not have.
func (rep reply) checkFailure(d description, r *http.Request) {
	rep.t.Helper()
	allowed := []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed}
	if !slices.Contains(allowed, rep.status) {
		rep.t.Errorf("%s %s is not described: %d", r.Method, r.URL.Path, rep.status)
	}
	if mediaType, _, err := mime.ParseMediaType(rep.header.Get("Content-Type")); err != nil || mediaType != jsonType {
		rep.t.Errorf("%s %s fails with Content-Type %q", r.Method, r.URL.Path, rep.header.Get("Content-Type"))
	}
	var value any
	if err := json.Unmarshal(rep.body, &value); err != nil {
		rep.t.Errorf("%s %s fails with no JSON: %v: %s", r.Method, r.URL.Path, err, rep.body)
		return
	}
	if err := d.doc.Components.Schemas["Failure"].Value.VisitJSON(value); err != nil {
		rep.t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
	}
}

func isHexID(id string) bool {
	return len(id) == 16 && !slices.ContainsFunc([]byte(id), func(c byte) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'f')
	})
}

func TestOpenAPI_IsValidAndHasEveryRoute(t *testing.T) {
	d := describe(t)
	if err := d.doc.Validate(t.Context()); err != nil {
		t.Errorf("openapi.yaml: %v", err)
	}
	described := 0
	for path, item := range d.doc.Paths.Map() {
		for method := range item.Operations() {
			described++
			if !slices.ContainsFunc(endpoints(), func(e endpoint) bool { return e.path == path && e.method == method }) {
				t.Errorf("openapi.yaml has %s %s, which is no route", method, path)
			}
		}
	}
	if described != len(endpoints()) {
		t.Errorf("openapi.yaml has %d of %d routes", described, len(endpoints()))
	}
	// The public compliance suite reads these names and paths.
	for _, schema := range []string{"PinResults", "PinStatus", "Pin", "Status", "Delegates", "Origins", "PinMeta", "StatusInfo", "TextMatchingStrategy", "Failure"} {
		if d.doc.Components.Schemas[schema] == nil {
			t.Errorf("openapi.yaml has no schema %s", schema)
		}
	}
}

func TestOpenAPI_NamesEveryReason(t *testing.T) {
	reasons := describe(t).doc.Components.Schemas["Failure"].Value.Properties["error"].Value.Properties["reason"].Value.Enum
	seen := make(map[string]bool)
	for kind := range everyKind() {
		if !slices.Contains(reasons, any(kind.String())) {
			t.Errorf("openapi.yaml does not have the reason %s", kind)
		}
		seen[kind.String()] = true
	}
	if len(seen) != len(reasons) {
		t.Errorf("openapi.yaml has %d reasons, want %d", len(reasons), len(seen))
	}
}

func TestOpenAPI_IsServed(t *testing.T) {
	s := start(t)
	rep := s.do(http.MethodGet, "/openapi.yaml", "", anonymous).is(http.StatusOK)
	if !bytes.Equal(rep.body, openAPI) || rep.header.Get("Content-Type") != "application/yaml" {
		t.Errorf("%s of %d bytes", rep.header.Get("Content-Type"), len(rep.body))
	}
}
