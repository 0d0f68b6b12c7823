package kubo

import (
	"reflect"
	"strings"
	"testing"
)

func TestLogTail_KeepsTheLastLines(t *testing.T) {
	t.Parallel()
	r := newLogTail(3)
	for _, text := range []string{"a\nb", "c\n\n  d  \n", "e\r\nf\n", "unended"} {
		if n, err := r.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	if got, want := r.last(), []string{"d", "e", "f", "unended"}; !reflect.DeepEqual(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	r.clear()
	if got := r.last(); len(got) != 0 {
		t.Errorf("kept %q after clear", got)
	}
	if _, err := r.Write([]byte(strings.Repeat("x", 3*maxLineLength) + "\n")); err != nil {
		t.Fatal(err)
	}
	if got := r.last(); len(got) != 1 || len(got[0]) != maxLineLength {
		t.Errorf("an endless line takes %d lines of %d bytes", len(got), len(got[0]))
	}
}
