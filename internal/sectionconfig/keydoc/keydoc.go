// Package keydoc makes the table of a section's keys for the documentation. The
// comments of the fields of the section's struct are its texts, so each key is
// documented once, for embedders and for operators.
//
// A comment begins with the name of its field. In the table, names of other
// fields become the names of their keys.
package keydoc

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"
)

// Table returns the keys of a section as a Markdown table. dir is the folder
// of the package whose type Config is the section.
func Table(dir string, keys []sectionconfig.Key) (string, error) {
	comments, err := fieldComments(dir)
	if err != nil {
		return "", err
	}
	keyOf := make(map[string]string, len(keys)) // by the name of the field
	for _, key := range keys {
		keyOf[key.Field] = key.Name
	}
	var b strings.Builder
	b.WriteString("| Key | Type | Default | Meaning |\n| --- | --- | --- | --- |\n")
	for _, key := range keys {
		meaning, err := meaning(key.Field, comments[key.Field], keyOf)
		if err != nil {
			return "", err
		}
		names := fmt.Sprintf("`%s`<br>`%s`", key.Name, key.Env)
		if key.Secret {
			names += fmt.Sprintf("<br>`%s`", key.EnvFile)
			meaning += " Masked in every display."
		}
		if key.Added {
			meaning += " *Added by this project.*"
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s |\n", names, key.Type, key.Default, meaning)
	}
	return b.String(), nil
}

// meaning turns the comment of a field into sentences for operators.
func meaning(field, comment string, keyOf map[string]string) (string, error) {
	text := strings.Join(strings.Fields(comment), " ")
	text, found := strings.CutPrefix(text, field+" ")
	if !found || !strings.HasSuffix(text, ".") {
		return "", fmt.Errorf("the comment of %s must begin with its name and end with a full stop: %q", field, comment)
	}
	for _, verb := range []string{"is ", "are ", "holds "} {
		if rest, found := strings.CutPrefix(text, verb); found {
			text = rest
			break
		}
	}
	text = regexp.MustCompile(`\.?\b[A-Z]\w+\b`).ReplaceAllStringFunc(text, func(word string) string {
		if key, ok := keyOf[word]; ok {
			return "`" + key + "`"
		}
		return word
	})
	text = strings.NewReplacer("|", `\|`, "*", `\*`).Replace(text)
	return strings.ToUpper(text[:1]) + text[1:], nil
}

// fieldComments returns the comments of the fields of Config by their names.
func fieldComments(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	comments := make(map[string]string)
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".go" || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, entry.Name()), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != "Config" {
				return true
			}
			if fields, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range fields.Fields.List {
					for _, name := range field.Names {
						comments[name.Name] = field.Doc.Text()
					}
				}
			}
			return false
		})
	}
	return comments, nil
}
