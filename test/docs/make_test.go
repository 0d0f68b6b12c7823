package docs

import (
	"regexp"
	"strings"
	"testing"
)

func TestMakeTargets_Exist(t *testing.T) {
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

func TestMakeTargets_AreAllNamed(t *testing.T) {
	contributing := readFile(t, "CONTRIBUTING.md")
	for _, match := range regexp.MustCompile(`(?m)^#   make ([a-z]+)`).FindAllStringSubmatch(readFile(t, "Makefile"), -1) {
		if !strings.Contains(contributing, "`make "+match[1]+"`") {
			t.Errorf("CONTRIBUTING.md does not say what make %s does", match[1])
		}
	}
}

func TestVersions_AreThoseOfTheModules(t *testing.T) {
	docs := documents(t)
	for path, pattern := range map[string]string{
		"go.mod":          `github.com/ipfs-cluster/ipfs-cluster v(\S+)`,
		"cmd/kubo/go.mod": `github.com/ipfs/kubo v(\S+)`,
	} {
		match := regexp.MustCompile(pattern).FindStringSubmatch(readFile(t, path))
		if match == nil {
			t.Fatalf("%s has no %s", path, pattern)
		}
		name := map[string]string{"go.mod": "IPFS Cluster ", "cmd/kubo/go.mod": "Kubo "}[path]
		if !strings.Contains(docs["docs/compatibility.md"].text, name+match[1]) {
			t.Errorf("docs/compatibility.md does not name %s%s", name, match[1])
		}
		for file, doc := range docs {
			for _, other := range regexp.MustCompile(name+`(\d+\.\d+\.\d+)`).FindAllStringSubmatch(doc.text, -1) {
				if other[1] != match[1] {
					t.Errorf("%s names %s, %s has %s", file, other[0], path, match[1])
				}
			}
		}
	}
}
