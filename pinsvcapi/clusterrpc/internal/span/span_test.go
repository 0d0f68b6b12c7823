package span

import (
	"sync"
	"testing"

	"go.opencensus.io/trace"
)

// exporter keeps the spans that ended.
type exporter struct {
	mu    sync.Mutex
	spans []*trace.SpanData
}

func (e *exporter) ExportSpan(s *trace.SpanData) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spans = append(e.spans, s)
}

func TestStart_WithoutASpanNothingIsAllocated(t *testing.T) {
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		_, end := Start(ctx, "lock")
		end()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got, end := Start(ctx, "lock"); got != ctx {
		t.Error("another context")
	} else {
		end()
	}
}

func TestStart_IsAChildOfTheSpanInTheContext(t *testing.T) {
	var e exporter
	trace.RegisterExporter(&e)
	defer trace.UnregisterExporter(&e)
	ctx, parent := trace.StartSpan(t.Context(), "request", trace.WithSampler(trace.AlwaysSample()))
	child, end := Start(ctx, "lock")
	_, endInner := Start(child, "inner")
	endInner()
	end()
	parent.End()
	if len(e.spans) != 3 {
		t.Fatalf("%d spans", len(e.spans))
	}
	inner, lock, request := e.spans[0], e.spans[1], e.spans[2]
	if lock.Name != "pinsvcapi/lock" || lock.ParentSpanID != request.SpanID || inner.ParentSpanID != lock.SpanID {
		t.Errorf("%q below %q", lock.Name, request.Name)
	}
}
