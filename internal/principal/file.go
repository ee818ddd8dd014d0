package principal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A FileError says which line and field of a file of principals is wrong. It holds no token and no hash.
type FileError struct {
	Line  int    // from 1; 0 if it is no line in particular
	Field string // "principals[3].roles"; empty if it is no field in particular
	Fault string
}

func (e *FileError) Error() string {
	s := e.Fault
	if e.Field != "" {
		s = e.Field + ": " + s
	}
	if e.Line > 0 {
		s = fmt.Sprintf("line %d: %s", e.Line, s)
	}
	return s
}

// parse understands a file's text. The document is walked as nodes, since only these know their lines.
func parse(text []byte) (*list, error) {
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &FileError{Line: 1, Fault: "the file is empty; a file without principals says \"principals: []\""}
		}
		return nil, &FileError{Fault: err.Error()}
	}
	if decoder.Decode(new(yaml.Node)) != io.EOF {
		return nil, &FileError{Fault: "want one document, got more"}
	}
	l := &list{byToken: map[[sha256.Size]byte]*principal{}, bySubject: map[string]*principal{}}
	var entries *yaml.Node
	err := fields(doc.Content[0], "", func(key, value *yaml.Node) error {
		if key.Value != "principals" {
			return fault(key, key.Value, "unknown field")
		}
		entries = value
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case entries == nil:
		return nil, &FileError{Line: 1, Field: "principals", Fault: "missing"}
	case entries.Kind != yaml.SequenceNode:
		return nil, fault(entries, "principals", "want a list")
	}
	for i, node := range entries.Content {
		if err := l.add(node, fmt.Sprintf("principals[%d]", i)); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *list) add(node *yaml.Node, at string) error {
	p := new(principal)
	var hash *[sha256.Size]byte
	var subject string
	err := fields(node, at, func(key, value *yaml.Node) error {
		field := at + "." + key.Value
		if key.Value == "roles" {
			if value.Kind != yaml.SequenceNode {
				return fault(value, field, "want a list of roles")
			}
			for i, role := range value.Content {
				var err error
				if p.actor.Roles, err = addRole(p.actor.Roles, role.Value); err != nil {
					return fault(role, fmt.Sprintf("%s[%d]", field, i), err.Error())
				}
			}
			return nil
		}
		if key.Value == "bus" {
			if value.Kind != yaml.SequenceNode {
				return fault(value, field, "want a list of subtrees, which may be empty")
			}
			p.onBus, p.bus = true, []string{}
			for i, subtree := range value.Content {
				if !subtreeOfBus.MatchString(subtree.Value) || slices.Contains(p.bus, subtree.Value) {
					return fault(subtree, fmt.Sprintf("%s[%d]", field, i), "want area:CODE/CODE, city first, unit:CODE or all, each once")
				}
				p.bus = append(p.bus, subtree.Value)
			}
			return nil
		}
		if value.Kind != yaml.ScalarNode || value.Value == "" {
			return fault(value, field, "want a text")
		}
		switch key.Value {
		case "person":
			p.actor.Person = value.Value
		case "unit":
			p.actor.Unit = value.Value
		case "token_sha256":
			sum, err := hex.DecodeString(value.Value)
			if err != nil || len(sum) != sha256.Size {
				return fault(value, field, "want 64 hexadecimal digits")
			}
			hash = (*[sha256.Size]byte)(sum)
			if l.byToken[*hash] != nil {
				return fault(value, field, "another principal has the same token")
			}
		case "certificate_subject":
			subject = value.Value
			if l.bySubject[subject] != nil {
				return fault(value, field, "another principal has the same subject")
			}
		case "valid_from", "valid_to":
			instant, err := time.Parse(time.RFC3339, value.Value)
			if err != nil {
				return fault(value, field, "want an instant with its zone, such as 2026-07-01T00:00:00+08:00")
			}
			if key.Value == "valid_from" {
				p.validFrom = instant
			} else {
				p.validTo = instant
			}
		default:
			return fault(key, field, "unknown field")
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case p.actor.Person == "":
		return fault(node, at+".person", "missing")
	case len(p.actor.Roles) == 0:
		return fault(node, at+".roles", "missing")
	case p.actor.Unit == "":
		return fault(node, at+".unit", "missing")
	case hash == nil && subject == "":
		return fault(node, at, "want token_sha256 or certificate_subject")
	case hash != nil && subject != "":
		return fault(node, at, "want one of token_sha256 and certificate_subject, not both")
	case p.onBus && hash == nil:
		return fault(node, at+".bus", "want token_sha256 with it: on the bus certificates are no credentials")
	case p.onBus && l.busOther(p):
		return fault(node, at+".bus", "another principal of this person, or whose name differs in no more than the case of letters, reads other subtrees")
	case !p.validTo.IsZero() && !p.validFrom.Before(p.validTo):
		return fault(node, at+".valid_to", "want it after valid_from")
	}
	if hash != nil {
		l.byToken[*hash] = p
	} else {
		l.bySubject[subject] = p
	}
	return nil
}

// subtreeOfBus is the form of a part of the bus: an area's path of up to five levels, of which those between may be skipped with _, a unit, or all.
var subtreeOfBus = regexp.MustCompile(`^(all|unit:[^/\s]+|area:([^_/\s]|[^/\s]{2,})((/[^/\s]+){0,3}/([^_/\s]|[^/\s]{2,}))?)$`)

// busOther says whether another principal has the same name on the bus and reads something else there.
func (l *list) busOther(p *principal) bool {
	for _, other := range l.byToken {
		if other.onBus && strings.EqualFold(other.actor.Person, p.actor.Person) && (other.actor.Person != p.actor.Person || !slices.Equal(other.bus, p.bus)) {
			return true
		}
	}
	return false
}

// fields walks a mapping. A field that comes twice is a fault.
func fields(node *yaml.Node, at string, each func(key, value *yaml.Node) error) error {
	if node.Kind != yaml.MappingNode {
		return fault(node, at, "want fields")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		for value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if seen[key.Value] {
			return fault(key, at, "the field "+key.Value+" comes twice")
		}
		seen[key.Value] = true
		if err := each(key, value); err != nil {
			return err
		}
	}
	return nil
}

func fault(node *yaml.Node, field, text string) error {
	return &FileError{Line: node.Line, Field: field, Fault: text}
}
