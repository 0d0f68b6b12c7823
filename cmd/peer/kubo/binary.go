package kubo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// findBinary returns the ipfs program to run: the one that binary_path names,
// else the one beside our own program, else the one in PATH. own is the path
// of our program.
func findBinary(cfg *Config, own string) (string, error) {
	if cfg.BinaryPath != "" {
		return findNamed(cfg)
	}
	name := "ipfs"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	var tried []string
	for _, dir := range ownDirs(own) {
		candidate := filepath.Join(dir, name)
		if path, err := exec.LookPath(candidate); err == nil {
			return path, nil
		}
		tried = append(tried, candidate)
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	tried = append(tried, "PATH")
	return "", fmt.Errorf("no ipfs program found (tried %s): run \"make\", which builds it into bin/, "+
		"or set ipfs_connector.managed.binary_path", strings.Join(tried, ", "))
}

func findNamed(cfg *Config) (string, error) {
	path := cfg.BinaryPath
	if filepath.Base(path) != path {
		path = cfg.absolute(path)
	}
	found, err := exec.LookPath(path)
	switch {
	case err == nil:
		return found, nil
	case errors.Is(err, os.ErrPermission):
		return "", fmt.Errorf("%s, which ipfs_connector.managed.binary_path names, may not be executed by this user", path)
	default:
		return "", fmt.Errorf("no ipfs program at %s, which ipfs_connector.managed.binary_path names: "+
			"run \"make\", which builds one into bin/, or correct that key", path)
	}
}

// ownDirs are the folder of our program's path and, when the path is a symbolic
// link, the folder of its target.
func ownDirs(own string) []string {
	if own == "" {
		return nil
	}
	dirs := []string{filepath.Dir(own)}
	if real, err := filepath.EvalSymlinks(own); err == nil && filepath.Dir(real) != dirs[0] {
		dirs = append(dirs, filepath.Dir(real))
	}
	return dirs
}

// ownPath is the path of our program, empty when it is not known.
func ownPath() string {
	own, err := os.Executable()
	if err != nil {
		return ""
	}
	return own
}
