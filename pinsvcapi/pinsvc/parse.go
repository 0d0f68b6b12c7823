package pinsvc

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
)

// MaxNameRunes bounds the name of a pin, in Unicode code points.
const MaxNameRunes = 255

// ParseRawQuery is ParseQuery for the query of a URL. It refuses parameters that
// are not encoded well; (*url.URL).Query leaves them out.
func ParseRawQuery(raw string) (Query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return Query{}, Errorf(KindBadRequest, "the query string cannot be read: %v", err)
	}
	return ParseQuery(values)
}

// ParseQuery reads the parameters of a list request and fills in the defaults
// (D4, D10). Every error is a KindBadRequest whose details begin with the name
// of the parameter.
//
// Parameters that the specification does not know are ignored. An empty value is
// the same as none, except for cid: an empty list of CIDs must not match every
// pin. Repeated parameters must have the same value; those of cid, status
// and meta add up.
func ParseQuery(values url.Values) (Query, error) {
	q, err := parseQuery(values)
	if err != nil {
		return Query{}, err
	}
	return q, nil
}

func parseQuery(values url.Values) (q Query, err error) {
	if q.CIDs, err = parseCIDs(values["cid"]); err != nil {
		return q, refuse("cid", err)
	}
	if q.Name, err = single(values["name"], "", parseName); err != nil {
		return q, refuse("name", err)
	}
	if q.Match, err = single(values["match"], MatchExact, ParseMatch); err != nil {
		return q, refuse("match", err)
	}
	if q.Before, err = single(values["before"], time.Time{}, parseTime); err != nil {
		return q, refuse("before", err)
	}
	if q.After, err = single(values["after"], time.Time{}, parseTime); err != nil {
		return q, refuse("after", err)
	}
	if q.Limit, err = single(values["limit"], DefaultLimit, parseLimit); err != nil {
		return q, refuse("limit", err)
	}
	if q.Meta, err = collectMeta(values); err != nil {
		return q, refuse("meta", err)
	}
	if q.Statuses, err = parseStatuses(values["status"]); err != nil {
		return q, refuse("status", err)
	}
	if q.Statuses == 0 {
		q.Statuses = defaultStatuses(q)
	}
	return q, nil
}

// defaultStatuses is D4: the specification's default is pinned, but its
// compliance suite lists pins by name before they can be pinned.
func defaultStatuses(q Query) StatusSet {
	if len(q.CIDs) == 0 && q.Name == "" && len(q.Meta) == 0 {
		return SetOf(StatusPinned)
	}
	return AllStatuses
}

func refuse(parameter string, err error) *Error {
	return Errorf(KindBadRequest, "%s: %v", parameter, err)
}

// single reads a parameter with one value, which may be repeated.
func single[T comparable](texts []string, absent T, parse func(string) (T, error)) (T, error) {
	result, first := absent, ""
	for _, text := range texts {
		if text == "" {
			continue
		}
		value, err := parse(text)
		if err != nil {
			return absent, err
		}
		if first != "" && value != result {
			return absent, fmt.Errorf("given as %s and as %s", quote(first), quote(text))
		}
		result, first = value, text
	}
	return result, nil
}

// parseCIDs removes CIDs that name the same pin (D1) before it counts them.
func parseCIDs(lists []string) ([]cid.Cid, error) {
	var cids []cid.Cid
	for _, list := range lists {
		for text := range strings.SplitSeq(list, ",") {
			c, err := ParseCID(text)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(cids, func(have cid.Cid) bool { return SamePin(have, c) }) {
				continue
			}
			if len(cids) == MaxCIDs {
				return nil, fmt.Errorf("more than %d CIDs", MaxCIDs)
			}
			cids = append(cids, c)
		}
	}
	return cids, nil
}

func parseStatuses(lists []string) (StatusSet, error) {
	var set StatusSet
	for _, list := range lists {
		if list == "" {
			continue
		}
		for text := range strings.SplitSeq(list, ",") {
			s, err := ParseStatus(text)
			if err != nil {
				return 0, err
			}
			set |= SetOf(s)
		}
	}
	return set, nil
}

func parseName(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", errors.New("not valid UTF-8")
	}
	if n := utf8.RuneCountInString(s); n > MaxNameRunes {
		return "", fmt.Errorf("%d characters are more than %d", n, MaxNameRunes)
	}
	return s, nil
}

func parseLimit(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n < 1 || n > MaxLimit {
		return 0, fmt.Errorf("%s is no whole number from 1 to %d", quote(s), MaxLimit)
	}
	return int(n), nil
}

// parseTime reads RFC 3339 with any fraction of a second, cut off after
// nanoseconds.
func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || !isRFC3339(s) {
		advice := ""
		if strings.Contains(s, " ") {
			advice = " (a + in a URL is written %2B)"
		}
		return time.Time{}, fmt.Errorf("%s is no RFC 3339 time like 2006-01-02T15:04:05.678Z%s", quote(s), advice)
	}
	t = t.UTC()
	if year := t.Year(); year < 0 || year > 9999 {
		return time.Time{}, fmt.Errorf("%s is not within the years 0000 to 9999 in UTC", quote(s))
	}
	if t.IsZero() {
		// The zero time means unbounded in a Query, and no pin is that old.
		t = t.Add(time.Nanosecond)
	}
	return t, nil
}

// isRFC3339 refuses forms that time.Parse takes and RFC 3339 does not have: a
// comma for the point, one digit for the hour, offsets of a day and more
// (golang/go#54580).
func isRFC3339(s string) bool {
	const clock = "2006-01-02T15:04:05"
	if len(s) <= len(clock) || s[len("2006-01-02T15")] != ':' {
		return false
	}
	zone := strings.TrimLeft(s[len(clock):], ".0123456789")
	if zone == "Z" {
		return true
	}
	return len(zone) == len("+00:00") && zone[1:3] < "24" && zone[4:] < "60"
}

// collectMeta reads meta in three encodings: the JSON object of the
// specification, map[key:value] from boxo, and meta[key]=value from the npm
// client.
func collectMeta(values url.Values) (map[string]string, error) {
	all := make(map[string]string)
	for _, text := range values["meta"] {
		if text == "" {
			continue
		}
		pairs, err := parseMetaFilter(text)
		if err != nil {
			return nil, err
		}
		for _, key := range slices.Sorted(maps.Keys(pairs)) {
			if err := addPair(all, key, pairs[key]); err != nil {
				return nil, err
			}
		}
	}
	for _, parameter := range slices.Sorted(maps.Keys(values)) {
		key, ok := strings.CutPrefix(parameter, "meta[")
		if !ok {
			continue
		}
		if key, ok = strings.CutSuffix(key, "]"); !ok {
			return nil, fmt.Errorf("%s does not end with ]", quote(parameter))
		}
		for _, value := range values[parameter] {
			if err := addPair(all, key, value); err != nil {
				return nil, err
			}
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, checkMeta(all)
}

func addPair(pairs map[string]string, key, value string) error {
	if have, ok := pairs[key]; ok && have != value {
		return fmt.Errorf("%s is wanted both as %s and as %s", quote(key), quote(have), quote(value))
	}
	pairs[key] = value
	return nil
}

// quote makes a text of a client fit for a message: ASCII, and not too long.
func quote(s string) string {
	const shown = 64
	if len(s) > shown {
		return strconv.QuoteToASCII(s[:shown]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
