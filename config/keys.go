package config

import "github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"

// Key describes one key of the section.
type Key = sectionconfig.Key

// Keys returns every key of the section, in the order of the file.
func Keys() []Key { return section().Keys() }
