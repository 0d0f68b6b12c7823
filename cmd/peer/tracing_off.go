package peer

import (
	"context"

	"go.opencensus.io/trace"
)

// DisableTracing has spans of OpenCensus cost nothing in this process, for good. Without it every
// call of the cluster fills spans that nobody reads, because upstream's observations import
// zpages, whose import alone turns all spans on. It is called before a peer is started.
func DisableTracing() { trace.DefaultTracer = noTracer{} }

// noTracer makes spans that record nothing.
type noTracer struct{}

func (noTracer) StartSpan(ctx context.Context, _ string, _ ...trace.StartOption) (context.Context, *trace.Span) {
	return ctx, noSpanShared
}

func (noTracer) StartSpanWithRemoteParent(
	ctx context.Context, _ string, _ trace.SpanContext, _ ...trace.StartOption,
) (context.Context, *trace.Span) {
	return ctx, noSpanShared
}

func (noTracer) FromContext(context.Context) *trace.Span { return noSpanShared }

func (noTracer) NewContext(parent context.Context, _ *trace.Span) context.Context { return parent }

// noSpanShared has no state.
var noSpanShared = trace.NewSpan(noSpan{})

type noSpan struct{}

func (noSpan) IsRecordingEvents() bool                     { return false }
func (noSpan) End()                                        {}
func (noSpan) SpanContext() trace.SpanContext              { return trace.SpanContext{} }
func (noSpan) SetName(string)                              {}
func (noSpan) SetStatus(trace.Status)                      {}
func (noSpan) AddAttributes(...trace.Attribute)            {}
func (noSpan) Annotate([]trace.Attribute, string)          {}
func (noSpan) Annotatef([]trace.Attribute, string, ...any) {}
func (noSpan) AddMessageSendEvent(_, _, _ int64)           {}
func (noSpan) AddMessageReceiveEvent(_, _, _ int64)        {}
func (noSpan) AddLink(trace.Link)                          {}
func (noSpan) String() string                              { return "" }
