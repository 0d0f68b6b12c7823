package docs

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// maxReadme is how many lines README.md may have.
const maxReadme = 150

func TestReadme_IsShort(t *testing.T) {
	if n := strings.Count(readFile(t, "README.md"), "\n"); n > maxReadme {
		t.Errorf("README.md has %d lines, at most %d are allowed", n, maxReadme)
	}
}

// Every document is found from README.md.
func TestReadme_LinksEveryDocument(t *testing.T) {
	linked := make(map[string]bool)
	for _, link := range links(parse(readFile(t, "README.md"))) {
		file, _, _ := strings.Cut(link, "#")
		linked[file] = true
	}
	for name := range documents(t) {
		if name != "README.md" && (strings.HasPrefix(name, "docs/") || !strings.Contains(name, "/")) && !linked[name] {
			t.Errorf("README.md does not link %s", name)
		}
	}
}

var linkPattern = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// links are the targets of the links of a document.
func links(doc document) []string {
	// What looks like a link in inline code is none.
	prose := spanPattern.ReplaceAllString(doc.prose, "code")
	var targets []string
	for _, match := range linkPattern.FindAllStringSubmatch(prose, -1) {
		targets = append(targets, match[1])
	}
	return targets
}

// slug is the anchor of a heading, as GitHub makes it.
func slug(heading string) string {
	heading = strings.ToLower(strings.TrimSpace(strings.TrimLeft(heading, "#")))
	heading = regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(heading, "")
	return strings.ReplaceAll(heading, " ", "-")
}

func TestLinks_LeadSomewhere(t *testing.T) {
	docs := documents(t)
	anchors := make(map[string]map[string]bool)
	for name, doc := range docs {
		anchors[name] = make(map[string]bool)
		for _, heading := range doc.headings() {
			anchors[name][slug(heading)] = true
		}
	}
	seen := 0
	for name, doc := range docs {
		for _, link := range links(doc) {
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			seen++
			file, anchor, _ := strings.Cut(link, "#")
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
				_, err := os.Stat(filepath.Join(harness.Root(), filepath.FromSlash(target)))
				exists(t, name, "file", target, err == nil && !strings.HasPrefix(target, "../"))
			}
			if known := anchors[target]; anchor != "" && known != nil && !known[anchor] {
				t.Errorf("%s: %s has no heading for #%s", name, target, anchor)
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d links were recognised", seen)
	}
}

func TestLinks_Slug(t *testing.T) {
	for heading, want := range map[string]string{
		"## D5 One status from many peers":       "d5-one-status-from-many-peers",
		"### `no Raft leader: 1 of 3`":           "no-raft-leader-1-of-3",
		"# In place of ipfs-cluster-service":     "in-place-of-ipfs-cluster-service",
		"## Provider hints: `origins`, and more": "provider-hints-origins-and-more",
	} {
		if got := slug(heading); got != want {
			t.Errorf("%q: got %q, want %q", heading, got, want)
		}
	}
}

// pathPattern is inline code that is a path of the repository.
var pathPattern = regexp.MustCompile(`^(?:\.ci|cmd|config|docs|examples|pinsvcapi|test)/[\w./-]*$`)

func TestPaths_Exist(t *testing.T) {
	for name, doc := range documents(t) {
		for _, span := range doc.spans {
			if !pathPattern.MatchString(span) || strings.HasPrefix(span, "cmd/ipfs-cluster-service/") {
				continue // The latter is upstream's program.
			}
			_, err := os.Stat(filepath.Join(harness.Root(), filepath.FromSlash(span)))
			exists(t, name, "path", span, err == nil)
		}
	}
}

// papers are names of documents in capitals, as those at the root are.
var papers = regexp.MustCompile(`\b[A-Z][A-Z_]+\.md\b`)

func TestDocuments_OutsideTheRepositoryAreNotCited(t *testing.T) {
	ours := make(map[string]bool)
	walk(t, func(name string) { ours[path.Base(name)] = true })
	walk(t, func(name string) {
		switch path.Ext(name) {
		case ".go", ".md", ".yaml", ".mjs", "":
		default:
			return
		}
		for i, line := range strings.Split(readFile(t, name), "\n") {
			for _, found := range papers.FindAllString(line, -1) {
				if !ours[found] {
					t.Errorf("%s:%d mentions %s, which is not in the repository", name, i+1, found)
				}
			}
		}
	})
}

// Comments cite the decisions by their numbers.
func TestDecisions_AreThoseThatTheCodeCites(t *testing.T) {
	written := make(map[string]bool)
	for _, heading := range parse(readFile(t, "docs/decisions.md")).headings() {
		if match := regexp.MustCompile(`^## (D\d+) \S`).FindStringSubmatch(heading); match != nil {
			written[match[1]] = true
		}
	}
	for n := 1; n <= 12; n++ {
		if name := fmt.Sprintf("D%d", n); !written[name] {
			t.Errorf("docs/decisions.md has no heading %s", name)
		}
	}
	cited := regexp.MustCompile(`\bD\d{1,2}\b`)
	comment := regexp.MustCompile(`//.*$`)
	seen := 0
	walk(t, func(name string) {
		if path.Ext(name) != ".go" || strings.HasPrefix(name, "test/docs/") {
			return
		}
		for line := range strings.Lines(readFile(t, name)) {
			for _, decision := range cited.FindAllString(comment.FindString(strings.TrimSpace(line)), -1) {
				seen++
				if !written[decision] {
					t.Errorf("%s cites %s, which docs/decisions.md does not have", name, decision)
				}
			}
		}
	})
	if seen < 10 {
		t.Errorf("only %d citations were recognised", seen)
	}
}

// exists fails the test unless the name that a document has exists.
func exists(t *testing.T, path, what, name string, there bool) {
	t.Helper()
	if !there {
		t.Errorf("%s: there is no %s %s", path, what, name)
	}
}
