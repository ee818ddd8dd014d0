package calendar

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// decodeStrictly decodes exactly one JSON value into v. It refuses unknown fields, anything after the value, and a
// key that stands twice in one object, whatever its case: of two, encoding/json would quietly take the last.
func decodeStrictly(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if typed, ok := errors.AsType[*FieldError](err); ok {
			return typed
		}
		return &FieldError{"json", "", err.Error()}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return &FieldError{"json", "", "more than one value"}
	}

	type level struct {
		keys  map[string]bool // nil in an array
		value bool            // in an object: a value comes next, not a key
	}
	var open []level
	for d = json.NewDecoder(bytes.NewReader(raw)); ; {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &FieldError{"json", "", err.Error()}
		}
		if t == json.Delim('}') || t == json.Delim(']') {
			open = open[:len(open)-1]
			continue
		}
		if n := len(open) - 1; n >= 0 && open[n].keys != nil {
			if key, ok := t.(string); ok && !open[n].value {
				folded := strings.ToLower(key)
				if open[n].keys[folded] {
					return &FieldError{"json", key, "stands twice in one object"}
				}
				open[n].keys[folded] = true
				open[n].value = true
				continue
			}
			open[n].value = false
		}
		switch t {
		case json.Delim('{'):
			open = append(open, level{keys: map[string]bool{}})
		case json.Delim('['):
			open = append(open, level{})
		}
	}
}
