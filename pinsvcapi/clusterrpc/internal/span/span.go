// Package span makes trace spans below a request's handler. Without a span in the
// context, which is when tracing is off, it costs nothing.
package span

import (
	"context"

	"go.opencensus.io/trace"
)

// Start begins a span with that name as a child of the context's; end ends it.
func Start(ctx context.Context, name string) (_ context.Context, end func()) {
	if trace.FromContext(ctx) == nil {
		return ctx, func() {}
	}
	ctx, span := trace.StartSpan(ctx, "pinsvcapi/"+name)
	return ctx, span.End
}
