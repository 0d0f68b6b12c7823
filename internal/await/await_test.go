package await

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// failed is a test that notes how it failed.
type failed struct {
	testing.TB
	text string
}

func (f *failed) Helper() {}

func (f *failed) Fatalf(format string, args ...any) { f.text = format + " " + errorIn(args) }

func errorIn(args []any) string {
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			return err.Error()
		}
	}
	return ""
}

func TestSuccess_ReturnsWithTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, comes := time.Now(), time.Now().Add(time.Second)
		check := func() error {
			if time.Now().Before(comes) {
				return errors.New("not yet")
			}
			return nil
		}
		Success(t, "it", check)
		True(t, "it", func() bool { return check() == nil })
		if took := time.Since(began); took > time.Second+maxPause {
			t.Errorf("it took %s", took)
		}
	})
}

func TestSuccess_TellsTheLastErrorOfWhatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f := &failed{TB: t}
		if Success(f, "it", func() error { return errors.New("the reason") }); !strings.Contains(f.text, "the reason") {
			t.Errorf("it failed with %q", f.text)
		}
		for _, wait := range []func(){
			func() { True(f, "it", func() bool { return false }) },
			func() { Closed(f, "it", make(chan struct{})) },
		} {
			f.text = ""
			if wait(); f.text == "" {
				t.Error("it did not fail")
			}
		}
		if took := time.Since(began); took > 3*(Limit+maxPause) {
			t.Errorf("it took %s", took)
		}
	})
}

func TestMeanwhile(t *testing.T) {
	for name, looks := range map[string]int{"until end": 1 << 30, "until it returns false": 3} {
		t.Run(name, func(t *testing.T) {
			n, third := 0, make(chan struct{})
			end := Meanwhile(t, time.Millisecond, func() bool {
				if n++; n == 3 {
					close(third)
				}
				return n < looks
			})
			Closed(t, "the third look", third)
			end()
			if was := n; was < 3 || was > looks {
				t.Errorf("%d looks", was)
			}
			end()
		})
	}
}
