// Package docs holds the documents of the repository against what they
// describe: every command, flag, make target, variable, configuration key,
// port, route, error, metric, version, path and link in them exists.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// document is a Markdown file taken apart.
type document struct {
	text string
	// prose is the text without the fenced code.
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

// code is all code of the document: spans, and blocks line by line.
func (d document) code() []string {
	pieces := slices.Clone(d.spans)
	for _, b := range d.blocks {
		pieces = append(pieces, strings.Split(b.text, "\n")...)
	}
	return pieces
}

// headings are the headings of the document, with their number signs.
func (d document) headings() []string {
	return regexp.MustCompile(`(?m)^#+ .*$`).FindAllString(d.prose, -1)
}

// section is the text below a heading, up to the next heading of its level or
// above.
func (d document) section(t *testing.T, heading string) string {
	t.Helper()
	level := strings.IndexFunc(heading, func(r rune) bool { return r != '#' })
	_, rest, found := strings.Cut("\n"+d.text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("there is no heading %q", heading)
	}
	var lines []string
	fenced := false
	for line := range strings.Lines(rest) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		depth := strings.IndexFunc(line, func(r rune) bool { return r != '#' })
		if !fenced && depth > 0 && depth <= level && strings.HasPrefix(line[depth:], " ") {
			break
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(harness.Root(), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// walk calls f for every file of the checkout that belongs to the project,
// with its path from the root.
func walk(t *testing.T, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir(harness.Root(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(harness.Root(), path)
		if err != nil {
			return err
		}
		name := entry.Name()
		switch {
		case rel == ".":
		case !entry.IsDir():
			f(filepath.ToSlash(rel))
		case name == ".git" || name == "node_modules" || name == "bin" || name == "data" ||
			filepath.ToSlash(rel) == "test/bench/out":
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// documents are the Markdown files of the project by their paths.
func documents(t *testing.T) map[string]document {
	t.Helper()
	docs := make(map[string]document)
	walk(t, func(path string) {
		if strings.HasSuffix(path, ".md") && !strings.Contains(path, "testdata/") {
			docs[path] = parse(readFile(t, path))
		}
	})
	return docs
}

// all is the text of all documents together.
func all(docs map[string]document) string {
	var text strings.Builder
	for _, doc := range docs {
		text.WriteString(doc.text)
	}
	return text.String()
}

func TestDocument_Section(t *testing.T) {
	doc := parse("# a\n\n## b\n\none\n\n```sh\n## no heading\n```\n\n### c\n\ntwo\n\n## d\n\nthree\n")
	if got := doc.section(t, "## b"); !strings.Contains(got, "one") || !strings.Contains(got, "two") || strings.Contains(got, "three") {
		t.Errorf("section b is %q", got)
	}
	if got := doc.headings(); !slices.Equal(got, []string{"# a", "## b", "### c", "## d"}) {
		t.Errorf("headings %q", got)
	}
}
