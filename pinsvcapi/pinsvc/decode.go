package pinsvc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Limits of the origins of a pin.
const (
	MaxOrigins = 20
	// MaxOriginBytes bounds the text of one origin. The longest that nodes
	// announce (relayed WebTransport with two certificates) have about 400.
	MaxOriginBytes = 1024
)

// DecodePin reads the body of a request: exactly one JSON document. Errors are
// a KindBadRequest whose details begin with the name of the field, or the
// KindPayloadTooLarge that stands for an *http.MaxBytesError of the reader.
// The caller bounds the reader; all of it is held in memory.
//
// Fields that the specification does not know are ignored, null is as good as
// absent for all but cid. Of more than MaxOrigins distinct origins those with
// private addresses are dropped first, then the last ones (D10).
func DecodePin(body io.Reader) (Pin, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return Pin{}, readError(err)
	}
	pin, err := decodePin(data)
	if err != nil {
		return Pin{}, Errorf(KindBadRequest, "%v", err)
	}
	pin.Origins = pickOrigins(pin.Origins)
	if err := pin.Validate(); err != nil {
		return Pin{}, err
	}
	return pin, nil
}

// Validate reports the first limit for requests that the pin goes beyond, as
// a KindBadRequest. Pins made by other means than this API may.
func (p Pin) Validate() error {
	if !p.CID.Defined() {
		return refuse("cid", errMissing)
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

// readError sorts the failures of reading a body. The type of net/http is
// recognised by its name, because this package, and with it all that build on
// it, stays free of net/http.
func readError(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if fmt.Sprintf("%T", err) == "*http.MaxBytesError" {
		return Wrap(KindPayloadTooLarge, err, "the body is too large")
	}
	return Wrap(KindBadRequest, err, "the body could not be read to its end")
}

// decodePin reads one JSON document whose types are right. It knows no limits.
func decodePin(data []byte) (Pin, error) {
	var pin Pin
	var err error
	if len(bytes.TrimSpace(data)) == 0 {
		return Pin{}, errors.New(`the body is empty; it should be a JSON object like {"cid":"…"}`)
	}
	if !utf8.Valid(data) {
		return Pin{}, errors.New("the body is not valid UTF-8")
	}
	walk := func(field string, value json.RawMessage) error {
		if string(value) == "null" && isPinField(field) {
			return nil
		}
		switch field {
		case "cid":
			var text string
			if text, err = decodeString(value); err == nil {
				pin.CID, err = ParseCID(text)
			}
		case "name":
			pin.Name, err = decodeString(value)
		case "origins":
			pin.Origins, err = decodeOrigins(value)
			return err
		case "meta":
			pin.Meta, err = decodeStringMap(value)
		default:
			err = checkUnknown(field)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		return nil
	}
	if err := walkObject(data, walk); err != nil {
		return Pin{}, err
	}
	if !pin.CID.Defined() {
		return Pin{}, fmt.Errorf("cid: %w", errMissing)
	}
	return pin, nil
}

func isPinField(field string) bool {
	switch field {
	case "cid", "name", "origins", "meta":
		return true
	default:
		return false
	}
}

// checkUnknown refuses a field of the specification in other letters: ignored,
// it would silently be missing from the pin.
func checkUnknown(field string) error {
	if isPinField(strings.ToLower(field)) {
		return fmt.Errorf("the field is called %q", strings.ToLower(field))
	}
	return nil
}

func decodeOrigins(data []byte) ([]multiaddr.Multiaddr, error) {
	var values []json.RawMessage
	if err := json.Unmarshal(data, &values); err != nil {
		return nil, fmt.Errorf("origins: should be an array of strings, not %s", typeOf(data))
	}
	var origins []multiaddr.Multiaddr
	for i, value := range values {
		origin, err := decodeOrigin(value)
		if err != nil {
			return nil, fmt.Errorf("origins[%d]: %w", i, err)
		}
		origins = append(origins, origin)
	}
	return origins, nil
}

func decodeOrigin(value []byte) (multiaddr.Multiaddr, error) {
	text, err := decodeString(value)
	if err != nil {
		return nil, err
	}
	if len(text) > MaxOriginBytes {
		return nil, fmt.Errorf("%d bytes are more than %d", len(text), MaxOriginBytes)
	}
	addr, err := multiaddr.NewMultiaddr(text)
	if err != nil {
		return nil, fmt.Errorf("not a multiaddress: %w", err)
	}
	return addr, nil
}

// checkOrigin wants what the specification says of all multiaddresses: that
// they end with /p2p/{peerID}. Nobody could be dialled otherwise, so the hint
// would be lost without a word.
func checkOrigin(origin multiaddr.Multiaddr) error {
	if _, last := multiaddr.SplitLast(origin); last == nil || last.Protocol().Code != multiaddr.P_P2P {
		return fmt.Errorf("%s does not end with /p2p/<peer ID>", quote(origin.String()))
	}
	return nil
}

// pickOrigins folds equal origins and drops the excess. Nodes list the
// addresses of all their interfaces, and often the private ones first: those
// are the ones that we can do without.
func pickOrigins(all []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	seen := make(map[string]bool, len(all))
	var distinct []multiaddr.Multiaddr
	public := 0
	for _, addr := range all {
		if key := string(addr.Bytes()); !seen[key] {
			seen[key] = true
			distinct = append(distinct, addr)
			if manet.IsPublicAddr(addr) {
				public++
			}
		}
	}
	if len(distinct) <= MaxOrigins {
		return distinct
	}
	private := max(0, MaxOrigins-public)
	var kept []multiaddr.Multiaddr
	for _, addr := range distinct {
		switch {
		case len(kept) == MaxOrigins:
			return kept
		case manet.IsPublicAddr(addr):
			kept = append(kept, addr)
		case private > 0:
			private--
			kept = append(kept, addr)
		}
	}
	return kept
}

// decodeStringMap reads a JSON object of strings. An empty one is nil.
func decodeStringMap(data []byte) (map[string]string, error) {
	var pairs map[string]string
	err := walkObject(data, func(key string, value json.RawMessage) error {
		text, err := decodeString(value)
		if err != nil {
			return fmt.Errorf("the value of %s %w", quote(key), err)
		}
		if pairs == nil {
			pairs = make(map[string]string)
		}
		pairs[key] = text
		return nil
	})
	return pairs, err
}

// walkObject calls visit for every member of the one JSON object that is data,
// and refuses a key that comes twice: encoding/json would take the last.
func walkObject(data []byte, visit func(key string, value json.RawMessage) error) error {
	if err := checkSyntax(data); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, _ := dec.Token(); open != json.Delim('{') {
		return fmt.Errorf("should be an object, not %s", typeOf(data))
	}
	seen := make(map[string]bool)
	for dec.More() {
		before := dec.InputOffset()
		if _, err := dec.Token(); err != nil {
			return err
		}
		// The token has lost what decodeString looks for.
		key, err := decodeString(bytes.TrimLeft(data[before:dec.InputOffset()], " \t\r\n,"))
		if err != nil {
			return fmt.Errorf("a key %w", err)
		}
		if seen[key] {
			return fmt.Errorf("the key %s comes twice", quote(key))
		}
		seen[key] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		if err := visit(key, value); err != nil {
			return err
		}
	}
	return nil
}

// checkSyntax wants exactly one JSON document.
func checkSyntax(data []byte) error {
	var document json.RawMessage
	err := json.Unmarshal(data, &document)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("not one JSON document: %w (at byte %d)", err, syntax.Offset)
	}
	return err
}

// decodeString reads one JSON string. Half a surrogate pair, which
// encoding/json turns into U+FFFD, is refused: it is no Unicode text.
func decodeString(data []byte) (string, error) {
	var text string
	if len(data) == 0 || data[0] != '"' {
		return "", fmt.Errorf("should be a string, not %s", typeOf(data))
	}
	if err := json.Unmarshal(data, &text); err != nil {
		return "", err
	}
	if hasLoneSurrogate(data) {
		return "", errors.New("has half a surrogate pair, which is no Unicode text")
	}
	return text, nil
}

// hasLoneSurrogate looks at the escapes of a well-formed JSON string.
func hasLoneSurrogate(data []byte) bool {
	var high rune // the escape just before, if it begins a pair
	for i := 0; i < len(data); {
		if data[i] != '\\' || data[i+1] != 'u' {
			if high != 0 {
				return true
			}
			if data[i] == '\\' {
				i++
			}
			i++
			continue
		}
		unit, err := strconv.ParseUint(string(data[i+2:i+6]), 16, 16)
		if err != nil {
			return true
		}
		r := rune(unit)
		switch {
		case high != 0:
			if utf16.DecodeRune(high, r) == utf8.RuneError {
				return true
			}
			high = 0
		case r >= 0xd800 && r < 0xdc00:
			high = r
		case utf16.IsSurrogate(r):
			return true
		}
		i += 6
	}
	return high != 0
}

// typeOf names the JSON type of a well-formed document.
func typeOf(data []byte) string {
	data = bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(data) == 0:
		return "nothing"
	case data[0] == '{':
		return "an object"
	case data[0] == '[':
		return "an array"
	case data[0] == '"':
		return "a string"
	case data[0] == 'n':
		return "null"
	case data[0] == 't' || data[0] == 'f':
		return "a boolean"
	default:
		return "a number"
	}
}
