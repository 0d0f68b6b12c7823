package sectionconfig

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// FileSuffix, after the name of a variable for a secret, is the name of the
// variable for the file with the secret.
const FileSuffix = "_FILE"

// maxSecretBytes is far more than any list of users.
const maxSecretBytes = 1 << 20

// LookupSecret returns the secret that the environment holds: the value of
// the variable name or, without line breaks at its end, the content of the
// file that the variable name_FILE gives the path of. A relative path starts at
// the working directory. ok is false when neither variable is set.
//
// It is an error to set both, and to name no file, or one that is empty or
// cannot be read. Errors begin with the name of the variable and never quote
// the secret.
func LookupSecret(name string) (secret string, ok bool, err error) {
	value, given := os.LookupEnv(name)
	secret, inFile, err := lookupFile(name)
	if !inFile {
		return value, given, nil
	}
	return secret, err == nil, err
}

// lookupFile is LookupSecret for the variable name_FILE alone. inFile is true
// when it is set.
func lookupFile(name string) (secret string, inFile bool, err error) {
	path, inFile := os.LookupEnv(name + FileSuffix)
	if !inFile {
		return "", false, nil
	}
	if _, given := os.LookupEnv(name); given {
		return "", true, fmt.Errorf("%s%s and %s are both set: unset one of them", name, FileSuffix, name)
	}
	if secret, err = readSecret(path); err != nil {
		return "", true, fmt.Errorf("%s%s: %w", name, FileSuffix, err)
	}
	return secret, true, nil
}

// readSecret returns the content of a file without the line breaks at its end.
func readSecret(path string) (string, error) {
	if path == "" {
		return "", errors.New("is empty: it must be the path of a file")
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxSecretBytes+1))
	if err != nil {
		return "", err
	}
	if len(raw) > maxSecretBytes {
		return "", fmt.Errorf("%s is larger than %d bytes", path, maxSecretBytes)
	}
	secret := strings.TrimRight(string(raw), "\r\n")
	if strings.TrimSpace(secret) == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return secret, nil
}
