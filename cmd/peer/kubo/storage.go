package kubo

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// storageMax is a parsed storage_max: a share of the disk, a fixed size, or
// neither (the zero value).
type storageMax struct {
	percent uint64
	size    string
}

func parseStorageMax(text string) (storageMax, error) {
	if text == "" {
		return storageMax{}, nil
	}
	if number, ok := strings.CutSuffix(text, "%"); ok {
		percent, err := strconv.ParseUint(strings.TrimSpace(number), 10, 8)
		if err != nil || percent < 1 || percent > 100 {
			return storageMax{}, fmt.Errorf("%q is not a share from 1%% to 100%%", text)
		}
		return storageMax{percent: percent}, nil
	}
	// Kubo reads the value with the same library.
	if bytes, err := humanize.ParseBytes(text); err != nil || bytes == 0 {
		return storageMax{}, fmt.Errorf("%q is neither a size such as \"500GB\" nor a share such as \"80%%\"", text)
	}
	return storageMax{size: text}, nil
}

// resolve returns the value for Kubo's Datastore.StorageMax on the disk of dir.
// It is false when Kubo's own value stays, because none is configured or the
// size of the disk is not known. A share is one of the whole disk, not of its
// free space, so that the value is the same at each start.
func (s storageMax) resolve(dir string) (string, bool) {
	if s.percent == 0 {
		return s.size, s.size != ""
	}
	const megabyte = 1_000_000
	total, ok := diskSize(dir)
	share := total / 100 * s.percent / megabyte
	if !ok || share == 0 {
		return "", false
	}
	return strconv.FormatUint(share, 10) + "MB", true
}
