// Package component has the example of the Pinning Service API as an API
// component of a cluster peer that the program makes itself. The code is in
// the example, which the tests run.
package component
