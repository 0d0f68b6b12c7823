package crdtstore

import (
	"strings"

	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-datastore"
	"github.com/multiformats/go-multihash"
)

// kind is what a key of the datastore is to go-ds-crdt.
type kind int

const (
	otherKind     kind = iota
	elementKind        // /s/s/<key>/<id>
	tombKind           // /s/t/<key>/<id>
	valueKind          // /s/k/<key>/v
	priorityKind       // /s/k/<key>/p
	headKind           // /h/<id>
	processedKind      // /b/<id>
	blockKind          // /b/blocks/<id>: of the blockstore that the cluster gives it
	dirtyKind          // /d
	openKind           // /pinsvc/open/<id>: ours, see walks.go
	rootKind           // /pinsvc/root/<id>: ours
	earlyKind          // /pinsvc/early/<key>: ours, see early.go
)

const (
	elementPrefix   = "/s/s"
	tombPrefix      = "/s/t"
	keyPrefix       = "/s/k"
	headPrefix      = "/h"
	processedPrefix = "/b"
	blockPrefix     = "/b/blocks"
	dirtyPath       = "/d"
	openPrefix      = "/pinsvc/open"
	rootPrefix      = "/pinsvc/root"
	earlyPrefix     = "/pinsvc/early"
	valueSuffix     = "/v"
	prioritySuffix  = "/p"
)

// layout knows the keys of a CRDT in its namespace.
type layout struct{ root string }

func newLayout(namespace datastore.Key) layout { return layout{root: namespace.String()} }

// classify returns what a key of the datastore is, with the CRDT's key and the ID of the
// block in it, where it has them. Keys of the CRDT come without their leading slash.
func (l layout) classify(k datastore.Key) (what kind, key, id string) {
	rest, ok := strings.CutPrefix(k.String(), l.root)
	if !ok || rest == "" {
		return otherKind, "", ""
	}
	if rest == dirtyPath {
		return dirtyKind, "", ""
	}
	dir, last := rest[:strings.LastIndexByte(rest, '/')], rest[strings.LastIndexByte(rest, '/')+1:]
	switch dir {
	case headPrefix:
		return headKind, "", last
	case processedPrefix:
		return processedKind, "", last
	case blockPrefix:
		return blockKind, "", last
	case openPrefix:
		return openKind, "", last
	case rootPrefix:
		return rootKind, "", last
	}
	if key, ok := strings.CutPrefix(rest, earlyPrefix+"/"); ok {
		return earlyKind, key, ""
	}
	if key, ok := strings.CutPrefix(dir, elementPrefix+"/"); ok {
		return elementKind, key, last
	}
	if key, ok := strings.CutPrefix(dir, tombPrefix+"/"); ok {
		return tombKind, key, last
	}
	if key, ok := strings.CutPrefix(dir, keyPrefix+"/"); ok {
		switch last {
		case valueSuffix[1:]:
			return valueKind, key, ""
		case prioritySuffix[1:]:
			return priorityKind, key, ""
		}
	}
	return otherKind, "", ""
}

func (l layout) key(parts ...string) datastore.Key {
	return datastore.RawKey(l.root + strings.Join(parts, ""))
}

func (l layout) element(key, id string) datastore.Key { return l.key(elementPrefix, "/", key, "/", id) }
func (l layout) tomb(key, id string) datastore.Key    { return l.key(tombPrefix, "/", key, "/", id) }
func (l layout) value(key string) datastore.Key       { return l.key(keyPrefix, "/", key, valueSuffix) }
func (l layout) priority(key string) datastore.Key {
	return l.key(keyPrefix, "/", key, prioritySuffix)
}
func (l layout) head(id string) datastore.Key      { return l.key(headPrefix, "/", id) }
func (l layout) processed(id string) datastore.Key { return l.key(processedPrefix, "/", id) }
func (l layout) block(id string) datastore.Key     { return l.key(blockPrefix, "/", id) }
func (l layout) open(id string) datastore.Key      { return l.key(openPrefix, "/", id) }
func (l layout) rootMark(id string) datastore.Key  { return l.key(rootPrefix, "/", id) }
func (l layout) early(key string) datastore.Key    { return l.key(earlyPrefix, "/", key) }
func (l layout) dirty() datastore.Key              { return l.key(dirtyPath) }

// blockID is how go-ds-crdt names a block.
func blockID(hash multihash.Multihash) string { return dshelp.MultihashToDsKey(hash).String()[1:] }
