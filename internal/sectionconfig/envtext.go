package sectionconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// The forms of lists and maps in environment variables are those of
// ipfs-cluster, and JSON. A text is a fault if two readers would read it
// differently: a password with a comma must not become a user.

// parseList reads items separated by commas, or a JSON list. An empty text is
// an empty list.
func parseList[T any](text string, decode func(json.RawMessage) ([]T, error), parse func(string) (T, error)) ([]T, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return []T{}, nil
	}
	if text[0] == '[' {
		return decode(json.RawMessage(text))
	}
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		switch {
		case item == "":
			return nil, errors.New("has an empty item")
		case strings.ContainsAny(item, "\"' \t\r\n"):
			return nil, errors.New(`has an item with a blank or a quote: separate items by commas, without quotes, or write a JSON list, such as ["a", "b"]`)
		}
		items = append(items, item)
	}
	return parseItems(items, parse)
}

// parseMap reads a JSON object, one name:value pair a line, or pairs separated
// by a comma and a blank. An empty text is an empty map, not nil: credentials
// that somebody forgot to fill in must not become a service without any.
func parseMap(text string, decode func(json.RawMessage) (map[string]string, error)) (map[string]string, error) {
	text = strings.TrimSpace(text)
	if text == "" || text[0] == '{' || strings.Contains(text, "\n") {
		return parseMapFile(text, decode)
	}
	var pairs []pair
	for _, item := range regexp.MustCompile(`,\s+`).Split(text, -1) {
		if strings.Contains(item, ",") {
			return nil, errors.New("has a comma without a blank after it, which could be a part of a value or separate two pairs: " +
				wantedMap)
		}
		p, err := cutPair(item)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	return exactMap(pairs)
}

// parseMapFile reads a JSON object or one name:value pair a line.
func parseMapFile(text string, decode func(json.RawMessage) (map[string]string, error)) (map[string]string, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") {
		return decode(json.RawMessage(text))
	}
	pairs, err := lines(text)
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		_, after, comma := strings.Cut(p.value, ",")
		if comma && strings.Contains(after, ":") || strings.Contains(p.name, ",") {
			return nil, errors.New("has a line that could be one pair or several: " + wantedMap)
		}
	}
	return exactMap(pairs)
}

// ParsePairs reads the text of a variable with names and values: a JSON object,
// one name:value pair a line, or pairs separated by a comma and a blank.
func ParsePairs(text string) (map[string]string, error) {
	return parseMap(text, decodeTexts)
}

// ParsePairsFile reads the content of a file with names and values: a JSON
// object, or one name:value pair a line.
func ParsePairsFile(text string) (map[string]string, error) {
	return parseMapFile(text, decodeTexts)
}

// exactMap refuses values with blanks around them: they could be meant.
func exactMap(pairs []pair) (map[string]string, error) {
	values := make(map[string]string, len(pairs))
	for _, p := range pairs {
		if strings.TrimSpace(p.value) != p.value {
			return nil, errors.New("has blanks around a value, which could be a part of it: " + wantedMap)
		}
		if _, repeated := values[p.name]; repeated {
			return nil, errRepeated(p.name)
		}
		values[p.name] = p.value
	}
	return values, nil
}

// parseHeaders reads a JSON object, one name:value pair a line, or pairs
// separated by commas. Blanks around values have no meaning in HTTP.
func parseHeaders(text string, decode func(json.RawMessage) (map[string][]string, error)) (map[string][]string, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") {
		return decode(json.RawMessage(text))
	}
	if !strings.Contains(text, "\n") {
		text = strings.ReplaceAll(text, ",", "\n")
	}
	pairs, err := lines(text)
	if err != nil {
		return nil, err
	}
	headers := make(map[string][]string, len(pairs))
	for _, p := range pairs {
		if _, repeated := headers[p.name]; repeated {
			return nil, errRepeated(p.name)
		}
		headers[p.name] = []string{strings.TrimSpace(p.value)}
	}
	return headers, nil
}

const wantedMap = `write a JSON object, such as {"name": "value"}, or one name:value pair a line`

// pair is a name without blanks around it, and a value as written.
type pair struct{ name, value string }

// lines reads one pair a line. Empty lines are skipped.
func lines(text string) ([]pair, error) {
	var pairs []pair
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		p, err := cutPair(line)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// cutPair cuts at the first colon: a value may hold more.
func cutPair(text string) (pair, error) {
	name, value, found := strings.Cut(text, ":")
	name = strings.TrimSpace(name)
	if !found {
		return pair{}, fmt.Errorf("must be name:value pairs: %s", wantedMap)
	}
	if name != "" && strings.ContainsRune(`{["'`, rune(name[0])) {
		return pair{}, errors.New("has a name that begins with a bracket or a quote: " + wantedMap)
	}
	return pair{name, value}, nil
}
