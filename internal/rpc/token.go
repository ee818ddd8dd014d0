package rpc

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
)

// Token is a log position as callers see it: opaque, and the same wherever the contract speaks of a position or a
// consistency token.
func Token(p eventstore.Position) string { return "p" + strconv.FormatUint(uint64(p), 36) }

// ParseToken gives the position of a token; an empty one is position 0. One that Token did not make is refused
// for the field's sake.
func ParseToken(field, token string) (eventstore.Position, error) {
	if token == "" {
		return 0, nil
	}
	digits, ok := strings.CutPrefix(token, "p")
	n, err := strconv.ParseUint(digits, 36, 64)
	if !ok || err != nil || Token(eventstore.Position(n)) != token {
		return 0, rule.Bad(field, rule.BadField, "is not a token that this service gave")
	}
	return eventstore.Position(n), nil
}

// ETag is a stream's version as callers see it.
func ETag(v eventstore.Version) string {
	return `"` + strconv.FormatUint(uint64(v), 10) + `"`
}

// pageRequest is a request that asks for a page.
type pageRequest interface {
	proto.Message
	GetPageSize() int32
	GetPageToken() string
}

// pageSize is how many entries a request wants: usual if it does not say, and never more than most.
func pageSize(r pageRequest, usual, most int) int {
	n := int(r.GetPageSize())
	switch {
	case n <= 0:
		return usual
	case n > most:
		return most
	}
	return n
}

// digestSize is how much of the digest of a page's question its token holds: enough to notice a mistake.
const digestSize = 6

// pageToken is the token of the page that begins after cursor. It binds the question that was asked.
func pageToken(r pageRequest, cursor string) string {
	if cursor == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append(question(r), cursor...))
}

// pageCursor gives the cursor of a request's page token; empty for the first page.
func pageCursor(r pageRequest) (string, error) {
	if r.GetPageToken() == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(r.GetPageToken())
	if err != nil || len(raw) <= digestSize {
		return "", rule.Bad("page_token", rule.BadField, "is not a token that this service gave")
	}
	if string(raw[:digestSize]) != string(question(r)) {
		return "", rule.Bad("page_token", rule.BadField, "belongs to a request with other arguments")
	}
	return string(raw[digestSize:]), nil
}

// question digests what a request asks, whichever page of it.
func question(r pageRequest) []byte {
	q := proto.Clone(r).ProtoReflect()
	for _, name := range []protoreflect.Name{"page_size", "page_token", "min_consistency_token"} {
		if fd := q.Descriptor().Fields().ByName(name); fd != nil {
			q.Clear(fd)
		}
	}
	q.SetUnknown(nil)
	raw, _ := proto.MarshalOptions{Deterministic: true}.Marshal(q.Interface())
	sum := sha256.Sum256(append(raw, q.Descriptor().Name()...))
	return sum[:digestSize]
}
