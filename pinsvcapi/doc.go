// Package pinsvcapi is an IPFS Cluster API component that serves the IPFS
// Pinning Service API v1.0.0 (https://ipfs.github.io/pinning-services-api-spec/):
// its listeners, routes, tokens, health, and the rendering of answers and
// failures. What it serves comes from a Backend; openapi.yaml describes all of
// it and is served at /openapi.yaml.
//
// # Life
//
// NewAPI validates the configuration, binds every listener and begins to
// serve. Until SetClient has connected it to the cluster and the backend is
// ready, every route but /health answers 503. Shutdown drains and closes.
//
// # Order of the layers
//
// A request passes these from the top; what is refused by one is seen by all
// above it.
//
//  1. recover: a panic becomes a 500 that tells the request ID and nothing else.
//  2. request ID: made here, sent as X-Request-Id; the route is looked up and
//     the time to read the body is bounded.
//  3. tracing, when it is on.
//  4. access log: one event per request, whatever became of it.
//  5. metrics: labels come from closed sets.
//  6. CORS: above authentication, so that a page can read why it was refused.
//     Preflight requests end here.
//  7. custom headers: the configuration's, on every other answer, failures included.
//  8. authentication, save for the open routes and OPTIONS.
//  9. route: 404, or 405 with Allow, for what is none.
//  10. readiness: 503 with Retry-After.
//  11. body: its type and its size.
//
// From 8 on a layer returns its failure as the handlers do, and one function,
// (*API).serve, writes it.
package pinsvcapi
