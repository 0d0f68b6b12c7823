// Package docs holds README.md and CHANGELOG.md against what they describe:
// every command, flag, target, variable, key, route and metric that they name
// exists.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// document is a Markdown file taken apart.
type document struct {
	text string
	// prose is all of it but the fenced code.
	prose string
	// spans are the pieces of inline code in the prose.
	spans []string
	// blocks are the fenced pieces of code.
	blocks []block
}

type block struct{ language, text string }

var spanPattern = regexp.MustCompile("`([^`\n]+)`")

func parse(text string) document {
	doc := document{text: text}
	var prose, code strings.Builder
	language, inside := "", false
	for line := range strings.Lines(text) {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && inside:
			doc.blocks = append(doc.blocks, block{language, code.String()})
			code.Reset()
			inside = false
		case isFence:
			language, inside = fence, true
		case inside:
			code.WriteString(line)
		default:
			prose.WriteString(line)
		}
	}
	doc.prose = prose.String()
	for _, match := range spanPattern.FindAllStringSubmatch(doc.prose, -1) {
		doc.spans = append(doc.spans, match[1])
	}
	return doc
}

// code is all code of the document, a piece or line of a block at a time.
func (d document) code() []string {
	pieces := slices.Clone(d.spans)
	for _, b := range d.blocks {
		pieces = append(pieces, strings.Split(b.text, "\n")...)
	}
	return pieces
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(harness.Root(), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// documents are the files that make promises.
func documents(t *testing.T) map[string]document {
	t.Helper()
	docs := make(map[string]document)
	for _, path := range []string{"README.md", "CHANGELOG.md"} {
		docs[path] = parse(readFile(t, path))
	}
	return docs
}

func TestMakeTargetsExist(t *testing.T) {
	makefile := readFile(t, "Makefile")
	targetPattern := regexp.MustCompile(`(?:^|[ $])make(?: ([a-z][a-z-]*))?((?: [A-Z]+=\S*)*)(?:$| +#|[^ \w])`)
	variablePattern := regexp.MustCompile(`(?:^| )([A-Z]+)=`)
	seen := 0
	for path, doc := range documents(t) {
		for _, piece := range doc.code() {
			for _, match := range targetPattern.FindAllStringSubmatch(piece, -1) {
				seen++
				if target := match[1]; target != "" && !regexp.MustCompile(`(?m)^`+target+`:`).MatchString(makefile) {
					t.Errorf("%s: %q: the Makefile has no target %s", path, piece, target)
				}
			}
			if !strings.HasPrefix(piece, "make") && !regexp.MustCompile(`^[A-Z]+=`).MatchString(piece) {
				continue
			}
			for _, match := range variablePattern.FindAllStringSubmatch(piece, -1) {
				name := match[1]
				if name == "Environment" || strings.HasPrefix(name, "CLUSTER") {
					continue
				}
				if !regexp.MustCompile(`\b` + name + `\b`).MatchString(makefile) {
					t.Errorf("%s: %q: the Makefile knows no %s", path, piece, name)
				}
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d make targets were recognised", seen)
	}
}

func TestEveryTargetOfTheMakefileIsNamed(t *testing.T) {
	readme := readFile(t, "README.md")
	for _, match := range regexp.MustCompile(`(?m)^#   make ([a-z]+)`).FindAllStringSubmatch(readFile(t, "Makefile"), -1) {
		if !strings.Contains(readme, "`make "+match[1]+"`") {
			t.Errorf("README.md does not say what make %s does", match[1])
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	slug := func(heading string) string {
		heading = strings.ToLower(strings.TrimSpace(strings.TrimLeft(heading, "#")))
		heading = regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(heading, "")
		return strings.ReplaceAll(heading, " ", "-")
	}
	for path, doc := range documents(t) {
		anchors := make(map[string]bool)
		for _, heading := range regexp.MustCompile(`(?m)^#+ .*$`).FindAllString(doc.prose, -1) {
			anchors[slug(heading)] = true
		}
		for _, match := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(doc.prose, -1) {
			link := match[1]
			anchor, within := strings.CutPrefix(link, "#")
			switch {
			case strings.HasPrefix(link, "https://"):
			case within && !anchors[anchor]:
				t.Errorf("%s: there is no heading for %s", path, link)
			case !within:
				if _, err := os.Stat(filepath.Join(harness.Root(), link)); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
		}
	}
}

func openAPI(t *testing.T) *openapi3.T {
	t.Helper()
	spec, err := openapi3.NewLoader().LoadFromFile(filepath.Join(harness.Root(), "pinsvcapi", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestRoutesExist(t *testing.T) {
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
			if item := spec.Paths.Value(match[2]); item == nil || item.GetOperation(match[1]) == nil {
				t.Errorf("%s: %s: the API has no such route", path, span)
			}
		}
	}
	for _, route := range []string{"/token", "/health", "/ready", "/openapi.yaml"} {
		if !named[route] {
			t.Errorf("README.md does not name %s, which the specification does not have", route)
		}
	}
}

func TestReasonsAreThoseOfTheAPI(t *testing.T) {
	reasons := openAPI(t).Components.Schemas["Failure"].Value.
		Properties["error"].Value.Properties["reason"].Value.Enum
	row := regexp.MustCompile(`(?m)^\| Errors \|.*$`).FindString(readFile(t, "README.md"))
	var named []string
	for _, match := range regexp.MustCompile("`([A-Z_]+)`").FindAllStringSubmatch(row, -1) {
		named = append(named, match[1])
	}
	var want []string
	for _, reason := range reasons {
		want = append(want, reason.(string))
	}
	slices.Sort(named)
	slices.Sort(want)
	if !slices.Equal(named, want) {
		t.Errorf("README.md names the reasons %q, the API has %q", named, want)
	}
}

func TestVersionsAreThoseOfTheModules(t *testing.T) {
	readme := readFile(t, "README.md")
	for path, pattern := range map[string]string{
		"go.mod":          `github.com/ipfs-cluster/ipfs-cluster v(\S+)`,
		"cmd/kubo/go.mod": `github.com/ipfs/kubo v(\S+)`,
	} {
		match := regexp.MustCompile(pattern).FindStringSubmatch(readFile(t, path))
		if match == nil {
			t.Fatalf("%s has no %s", path, pattern)
		}
		name := map[string]string{"go.mod": "IPFS Cluster ", "cmd/kubo/go.mod": "Kubo "}[path]
		if !strings.Contains(readme, name+match[1]) {
			t.Errorf("README.md does not speak of %s%s", name, match[1])
		}
		for _, other := range regexp.MustCompile(name+`(\d+\.\d+\.\d+)`).FindAllStringSubmatch(readme, -1) {
			if other[1] != match[1] {
				t.Errorf("README.md speaks of %s, %s of %s", other[0], path, match[1])
			}
		}
	}
}
