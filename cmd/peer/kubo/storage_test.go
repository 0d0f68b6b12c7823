package kubo

import (
	"fmt"
	"testing"
)

func TestStorageMax_IsASizeOrAShareOfTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	total, known := diskSize(dir)
	if !known {
		t.Fatal("the size of the disk is not known")
	}
	for text, want := range map[string]string{
		"500GB": "500GB", "10 TiB": "10 TiB", "": "",
		"100%": fmt.Sprintf("%dMB", total/100*100/1_000_000), "25 %": fmt.Sprintf("%dMB", total/100*25/1_000_000),
	} {
		limit, err := parseStorageMax(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if got, ok := limit.resolve(dir); got != want || ok != (want != "") {
			t.Errorf("%q is %q (%v), want %q", text, got, ok, want)
		}
	}
	for _, text := range []string{"0%", "101%", "-1%", "much", "0", "0GB", "%", "1.5%"} {
		if _, err := parseStorageMax(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
