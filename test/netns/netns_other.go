//go:build !linux

package main

func isolated([]string) (int, error) { return 1, errUnavailable }
