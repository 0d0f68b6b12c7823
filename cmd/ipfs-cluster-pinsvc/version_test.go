package main

import (
	"runtime/debug"
	"testing"
)

func TestVersionOf(t *testing.T) {
	build := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123abcd"}
	for _, test := range []struct {
		name, commit string
		info         *debug.BuildInfo
		want         string
	}{
		{"installed as a module", "", build("v1.2.3"), "v1.2.3"},
		{"from a checkout", "", build("(devel)", revision), "unreleased (commit 0123abcd)"},
		{"by make", "4567", build("(devel)"), "unreleased (commit 4567)"},
		{"by make, with the toolchain's record", "4567", build("v0.0.0-2026", revision), "v0.0.0-2026 (commit 0123abcd)"},
		{"from an archive", "", build("(devel)"), "unreleased"},
		{"without any record", "", build(""), "unreleased"},
	} {
		if got := versionOf(test.info, test.commit); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
