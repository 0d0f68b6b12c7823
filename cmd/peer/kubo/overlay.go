package kubo

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
)

// overlayFile is the file in the repo that lists the settings of Kubo's
// configuration that came from service.json.
const overlayFile = "managed.json"

// setting is a value that service.json requires in Kubo's configuration.
type setting struct {
	key   string
	value any
}

// laid is a setting that was applied to Kubo's configuration, and the value
// before it.
type laid struct {
	Applied any `json:"applied"`
	Before  any `json:"before"`
}

// change is one edit of Kubo's configuration, for the log.
type change struct {
	key      string
	from, to any
}

// overlay is the list of settings that were applied to Kubo's configuration.
type overlay struct {
	Settings map[string]laid `json:"settings"`
}

func readOverlay(repo string) (overlay, error) {
	o := overlay{Settings: map[string]laid{}}
	raw, err := os.ReadFile(filepath.Join(repo, overlayFile))
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return o, err
	}
	if err := decodeExact(raw, &o); err != nil {
		// As with a lost file, all settings are applied anew.
		logger.Warnf("%s cannot be read and is written anew: %v", overlayFile, err)
		o = overlay{}
	}
	if o.Settings == nil {
		o.Settings = map[string]laid{}
	}
	return o, nil
}

// lay applies the wanted settings to doc and reverts those that are no longer
// wanted. A value that the operator changed in doc after a setting was applied
// stays until service.json changes too.
func (o overlay) lay(doc document, wanted []setting) []change {
	var changes []change
	set := func(key string, value any) {
		if from := doc.get(key); !same(from, value) {
			doc.set(key, value)
			changes = append(changes, change{key, from, value})
		}
	}
	isWanted := make(map[string]bool, len(wanted))
	for _, w := range wanted {
		isWanted[w.key] = true
		value, current := plain(w.value), doc.get(w.key)
		before, known := o.Settings[w.key]
		switch {
		case known && same(before.Applied, value):
			continue
		case known && same(before.Applied, current):
			// Still the value applied before: keep the operator's.
			o.Settings[w.key] = laid{Applied: value, Before: before.Before}
		default:
			o.Settings[w.key] = laid{Applied: value, Before: current}
		}
		set(w.key, value)
	}
	for _, key := range slices.Sorted(maps.Keys(o.Settings)) {
		if isWanted[key] {
			continue
		}
		if same(doc.get(key), o.Settings[key].Applied) {
			set(key, o.Settings[key].Before)
		}
		delete(o.Settings, key)
	}
	return changes
}

// same reports whether Kubo treats two values as equal: it may write an empty
// list as null.
func same(a, b any) bool {
	return reflect.DeepEqual(a, b) || isEmpty(a) && isEmpty(b)
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	default:
		return false
	}
}
