package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// literals are the string literals of the Go files below a folder, without
// tests. Literals that are joined with + are one.
func literals(t *testing.T, folder string) []string {
	t.Helper()
	var found []string
	walk(t, func(path string) {
		if !strings.HasPrefix(path, folder) || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(harness.Root(), path), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			expr, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text, whole := literal(expr)
			if text != "" {
				found = append(found, text)
			}
			return !whole
		})
	})
	return found
}

// literal is the text of a literal or of a sum of literals. What is no literal
// in a sum is a verb. whole says that nothing below is to be looked at.
func literal(expr ast.Expr) (text string, whole bool) {
	switch e := expr.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		if e.Op != token.ADD {
			return "", false
		}
		left, isLeft := literal(e.X)
		right, isRight := literal(e.Y)
		switch {
		case isLeft && isRight:
			return left + right, true
		case isLeft:
			return left + "%s", true
		case isRight:
			return "%s" + right, true
		}
	}
	return "", false
}

var verbPattern = regexp.MustCompile(`%[-+# 0]*[0-9.]*[a-zA-Z]`)

// minFixed is how much text of a message has to come from one literal.
const minFixed = 14

// says tells whether a literal of the code makes the message, or most of it.
func hasMessage(message string, literals []string) bool {
	for _, text := range literals {
		fixed := verbPattern.ReplaceAllString(text, "")
		switch {
		case len(strings.TrimSpace(fixed)) < minFixed:
		case strings.Contains(text, message):
			return true
		default:
			pattern, err := regexp.Compile(verbPattern.ReplaceAllString(regexp.QuoteMeta(text), `.+`))
			if err == nil && 5*len(pattern.FindString(message)) >= 4*len(message) {
				return true
			}
		}
	}
	return false
}

// messageHeading is a heading of docs/troubleshooting.md that is a text of the
// program. "(Kubo)", say, after it names another program that writes it.
var messageHeading = regexp.MustCompile("^### `([^`]+)`$")

func TestTroubleshooting_QuotesTheProgram(t *testing.T) {
	var program []string
	for _, folder := range []string{"pinsvcapi/", "cmd/", "config/", "internal/"} {
		program = append(program, literals(t, folder)...)
	}
	seen := 0
	for _, heading := range parse(readFile(t, "docs/troubleshooting.md")).headings() {
		match := messageHeading.FindStringSubmatch(heading)
		if match == nil {
			continue
		}
		seen++
		exists(t, "docs/troubleshooting.md", "text in the code like", match[1], hasMessage(match[1], program))
	}
	if seen < 15 {
		t.Errorf("only %d messages were recognised", seen)
	}
}

func TestMessages_AreFound(t *testing.T) {
	code := []string{"no data for %s (ipfs_connector.ipfshttp.pin_timeout), %s", "this path takes %s", "%s: %w"}
	for message, want := range map[string]bool{
		"no data for 2m0s (ipfs_connector.ipfshttp.pin_timeout), attempt 1 of 3": true,
		"this path takes GET, HEAD": true,
		"this path takes":           true,
		"a: b":                      false,
		"there is no such thing":    false,
		"what is more than what the code has: this path takes GET": false,
	} {
		if got := hasMessage(message, code); got != want {
			t.Errorf("%q: found %v", message, got)
		}
	}
}
