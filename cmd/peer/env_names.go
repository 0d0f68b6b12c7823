package peer

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"
)

const envPrefix = "CLUSTER_"

// kubernetesVariable matches the variables that Kubernetes sets for a service
// whose name begins with "cluster".
var kubernetesVariable = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$`)

// UnknownVariables returns a sentence for each environment variable with the
// prefix CLUSTER_ that no section reads, sorted. The sentence has the most
// similar name, if there is one. Upstream does not report such variables (U21 in
// docs/upstream-faults.md).
func UnknownVariables() []string {
	known := knownVariables()
	var unknown []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) || kubernetesVariable.MatchString(name) {
			continue
		}
		sentence := "environment variable " + name + " is not known and has no effect"
		if similar, ok := mostSimilar(name, known); ok {
			sentence += fmt.Sprintf("; is it %s?", similar)
		}
		unknown = append(unknown, sentence)
	}
	slices.Sort(unknown)
	return unknown
}

// knownVariables are the variables that the sections and the identity read.
func knownVariables() []string {
	c := NewConfiguration(Files{}, "", "")
	go c.Close() // Takes up to a second.
	known := []string{envID, envPrivateKey}
	for _, name := range upstreamSecrets() {
		known = append(known, name+sectionconfig.FileSuffix)
	}
	for _, component := range c.components() {
		if ours, ok := component.config.(interface{ EnvNames() []string }); ok {
			known = append(known, ours.EnvNames()...)
			continue
		}
		known = append(known, upstreamVariables(component)...)
	}
	slices.Sort(known)
	return slices.Compact(known)
}

// upstreamVariables derives the variables of one of upstream's components from
// its keys: upstream does not export its list. Its structs follow one rule, the
// key in capitals without underscores; TestKnownVariables_AreUpstreams compares
// the result with upstream's source.
func upstreamVariables(c component) []string {
	prefix := envPrefix
	if c.section != clusterconfig.Cluster {
		prefix += strings.ToUpper(c.config.ConfigKey()) + "_"
	}
	var names []string
	for _, key := range quietKeys() {
		if rest, ok := strings.CutPrefix(key, c.name()+"."); ok {
			names = append(names, variableOf(prefix, strings.Split(rest, ".")...))
		}
	}
	if err := c.config.Default(); err != nil {
		return names
	}
	defaults, err := c.config.ToJSON()
	if err != nil {
		return names
	}
	return append(names, variablesIn(prefix, members(defaults))...)
}

func variablesIn(prefix string, object map[string]json.RawMessage) []string {
	var names []string
	for key, value := range object {
		if inner := members(value); inner != nil && !isFreeForm(key) {
			names = append(names, variablesIn(variableOf(prefix, key)+"_", inner)...)
			continue
		}
		names = append(names, variableOf(prefix, key))
	}
	return names
}

// variableOf is the name of the variable for a key, given by its path.
func variableOf(prefix string, path ...string) string {
	for i, key := range path {
		path[i] = strings.ToUpper(strings.ReplaceAll(key, "_", ""))
	}
	return prefix + strings.Join(path, "_")
}

// mostSimilar returns the known name with the fewest edits to name. Names that
// differ in more than a fifth of their letters are not similar.
func mostSimilar(name string, known []string) (string, bool) {
	similar, fewest := "", len(name)/5+1
	for _, candidate := range known {
		if d := editDistance(name, candidate); d < fewest {
			similar, fewest = candidate, d
		}
	}
	return similar, similar != ""
}

// editDistance is the Levenshtein distance of two ASCII texts, except that
// underscores do not count: they are what the names are most often written with
// too many or too few of.
func editDistance(a, b string) int {
	a, b = strings.ReplaceAll(a, "_", ""), strings.ReplaceAll(b, "_", "")
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
