// Package soak lets writers, readers and pollers use a peer for a long time
// and checks what that leaves behind. It holds tests only.
//
//	make soak                                   2 times 10 minutes
//	go test ./test/soak -soak.duration 1h       as long as one likes
package soak
