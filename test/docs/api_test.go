package docs

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

func openAPI(t *testing.T) *openapi3.T {
	t.Helper()
	spec, err := openapi3.NewLoader().LoadFromFile(filepath.Join(harness.Root(), "pinsvcapi", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestRoutes_Exist(t *testing.T) {
	spec := openAPI(t)
	routePattern := regexp.MustCompile(`^(GET|HEAD|POST|PUT|DELETE|OPTIONS) (/[^ ?]*)$`)
	named := make(map[string]bool)
	for path, doc := range documents(t) {
		for _, span := range doc.spans {
			match := routePattern.FindStringSubmatch(span)
			if match == nil {
				continue
			}
			named[match[2]] = true
			item := spec.Paths.Value(match[2])
			exists(t, path, "route", span, item != nil && item.GetOperation(match[1]) != nil)
		}
	}
	for path := range spec.Paths.Map() {
		if !named[path] {
			t.Errorf("no document names the path %s", path)
		}
	}
}

// readHeader matches the code that reads a header of a request.
var readHeader = regexp.MustCompile(`\.(?:Get|Values)\("(X-[A-Za-z-]+|Forwarded)"\)`)

// Each header beside those of HTTP itself that changes what the service does is
// described.
func TestHeaders_AreDescribed(t *testing.T) {
	code := make(map[string]bool)
	for _, doc := range documents(t) {
		for _, piece := range doc.code() {
			for _, word := range regexp.MustCompile(`[A-Za-z-]+`).FindAllString(piece, -1) {
				code[strings.ToLower(word)] = true
			}
		}
	}
	found := 0
	walk(t, func(path string) {
		if !strings.HasPrefix(path, "pinsvcapi/") || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, match := range readHeader.FindAllStringSubmatch(readFile(t, path), -1) {
			found++
			if !code[strings.ToLower(match[1])] {
				t.Errorf("%s reads the header %s, which no document describes", path, match[1])
			}
		}
	})
	if found < 5 {
		t.Errorf("only %d headers were recognised", found)
	}
}

// errorRow is a row of the table of errors.
var errorRow = regexp.MustCompile("(?m)^\\| (\\d{3}) \\| `([A-Z0-9_/]+)` \\|")

func TestErrors_AreThoseOfTheAPI(t *testing.T) {
	spec := openAPI(t)
	reasons := spec.Components.Schemas["Failure"].Value.
		Properties["error"].Value.Properties["reason"].Value.Enum
	codes := make(map[string][]string) // Reason to its codes.
	api := parse(readFile(t, "docs/api.md"))
	for _, match := range errorRow.FindAllStringSubmatch(api.section(t, "## Errors"), -1) {
		codes[match[2]] = append(codes[match[2]], match[1])
	}
	var want []string
	for _, reason := range reasons {
		want = append(want, reason.(string))
		if codes[reason.(string)] == nil {
			t.Errorf("docs/api.md does not list the reason %s", reason)
		}
	}
	for reason := range codes {
		if !slices.Contains(want, reason) {
			t.Errorf("docs/api.md lists %s, which is no reason of the API", reason)
		}
	}
	for path, item := range spec.Paths.Map() {
		for method, operation := range item.Operations() {
			for code, response := range operation.Responses.Map() {
				reason := exampleReason(response)
				if reason != "" && !slices.Contains(codes[reason], code) {
					t.Errorf("%s %s fails with %s %s; docs/api.md says %s", method, path, code, reason, codes[reason])
				}
			}
		}
	}
}

// exampleReason is the reason of the example of a failure, "" without one.
func exampleReason(response *openapi3.ResponseRef) string {
	content := response.Value.Content.Get("application/json")
	if content == nil {
		return ""
	}
	example, _ := content.Example.(map[string]any)
	failure, _ := example["error"].(map[string]any)
	reason, _ := failure["reason"].(string)
	return reason
}

func TestInfoKeys_AreThoseOfTheCode(t *testing.T) {
	api := parse(readFile(t, "docs/api.md"))
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(api.section(t, "## Info"), -1)
	written := literals(t, "pinsvcapi/clusterrpc/")
	for _, row := range rows {
		if !slices.Contains(written, row[1]) {
			t.Errorf("docs/api.md: info has no key %s", row[1])
		}
	}
	if len(rows) < 4 {
		t.Errorf("only %d keys of info were recognised", len(rows))
	}
}

// Go code in the documents is a piece of a file of examples/.
func TestGoCode_IsThatOfTheExamples(t *testing.T) {
	var sources []string
	walk(t, func(path string) {
		if strings.HasPrefix(path, "examples/") && strings.HasSuffix(path, ".go") ||
			strings.HasSuffix(path, "example_test.go") {
			sources = append(sources, readFile(t, path))
		}
	})
	seen := 0
	for path, doc := range documents(t) {
		for _, b := range doc.blocks {
			if b.language != "go" {
				continue
			}
			seen++
			if !slices.ContainsFunc(sources, func(source string) bool { return strings.Contains(source, b.text) }) {
				t.Errorf("%s: no example has this code:\n%s", path, b.text)
			}
		}
	}
	if seen < 2 {
		t.Errorf("only %d pieces of Go were recognised", seen)
	}
}
