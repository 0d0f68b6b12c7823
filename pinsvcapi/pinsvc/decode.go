package pinsvc

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/jsonobject"
)

// Decode reads the body of a request: exactly one JSON document. Errors are a
// KindBadRequest whose details begin with the name of the field.
//
// Fields that the specification does not know are ignored; null is the same as
// absent for all fields but cid. Origins that are not understood are left out,
// and of more than MaxOrigins the most useful ones are kept (D10): dropped has
// the number of those left out. The pin shares no memory with the body.
func (d *Decoder) Decode(data []byte) (pin Pin, dropped DroppedOrigins, err error) {
	pin, origins, err := d.decode(data)
	if err == nil {
		err = origins.check()
	}
	if err != nil {
		return Pin{}, dropped, Errorf(KindBadRequest, "%v", err)
	}
	dropped.Unknown = origins.unknown
	pin.Origins, dropped.Excess = selectOrigins(origins.known)
	if err := pin.Validate(); err != nil {
		return Pin{}, dropped, err
	}
	return pin, dropped, nil
}

// Validate returns a KindBadRequest for the first limit of requests that the pin
// exceeds. Pins made by other means than this API may.
func (p Pin) Validate() error {
	if !p.CID.Defined() {
		return refuse("cid", errMissing)
	}
	if err := CheckPinnable(p.CID); err != nil {
		return refuse("cid", err)
	}
	if _, err := parseName(p.Name); err != nil {
		return refuse("name", err)
	}
	if len(p.Origins) > MaxOrigins {
		return refuse("origins", fmt.Errorf("%d are more than %d", len(p.Origins), MaxOrigins))
	}
	for i, origin := range p.Origins {
		if err := checkOrigin(origin); err != nil {
			return refuse(fmt.Sprintf("origins[%d]", i), err)
		}
	}
	if err := checkMeta(p.Meta); err != nil {
		return refuse("meta", err)
	}
	return nil
}

var errMissing = errors.New("missing; it names the content to pin")

// decodePin reads one JSON document with members of the right types. It applies
// no limits.
func decodePin(data []byte) (pin Pin, origins decodedOrigins, err error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return Pin{}, decodedOrigins{}, errors.New(`the body is empty; it should be a JSON object like {"cid":"…"}`)
	}
	if !utf8.Valid(data) {
		return Pin{}, decodedOrigins{}, errors.New("the body is not valid UTF-8")
	}
	object, err := parseObject(data)
	if err != nil {
		return Pin{}, decodedOrigins{}, err
	}
	for _, m := range object {
		if string(m.Value) == "null" && isPinField(m.Name) {
			continue
		}
		if m.Name == "origins" {
			if origins, err = decodeOrigins(m.Value); err != nil {
				return Pin{}, decodedOrigins{}, err
			}
			pin.Origins = origins.known
			continue
		}
		if err := pin.decodeMember(m); err != nil {
			return Pin{}, decodedOrigins{}, fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	if !pin.CID.Defined() {
		return Pin{}, decodedOrigins{}, fmt.Errorf("cid: %w", errMissing)
	}
	return pin, origins, nil
}

// decodeMember sets the field of a member other than origins.
func (p *Pin) decodeMember(m jsonobject.Member) (err error) {
	switch m.Name {
	case "cid":
		var text string
		if text, err = decodeString(m.Value); err == nil {
			p.CID, err = ParseCID(text)
		}
	case "name":
		p.Name, err = decodeString(m.Value)
	case "meta":
		p.Meta, err = decodeStringMap(m.Value)
	default:
		err = checkUnknown(m.Name)
	}
	return err
}

func isPinField(field string) bool { return slices.Contains(pinFields[:], field) }

// checkUnknown refuses a field of the specification in other letter case: if it
// were ignored, its value would be missing from the pin without a word.
func checkUnknown(field string) error {
	if isPinField(strings.ToLower(field)) {
		return fmt.Errorf("the field is called %q", strings.ToLower(field))
	}
	return nil
}
