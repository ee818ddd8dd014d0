package view

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"

	"github.com/chuishao/dispatch/internal/rule"
)

// pages is how many rows an answer has: the default, and at most.
type pages struct{ usual, most int }

// size is what a request's page_size comes to.
func (p pages) size(asked int32) (int, error) {
	switch {
	case asked < 0:
		return 0, rule.Bad("page_size", rule.BadField, "want 0 for the default, or a positive number")
	case asked == 0:
		return p.usual, nil
	}
	return min(int(asked), p.most), nil
}

const bindSize = 8

// bind is what a page token carries of the arguments it was made for. page_size is not among them.
func bind(args ...string) []byte {
	h := sha256.New()
	for _, a := range args {
		h.Write([]byte(a))
		h.Write([]byte{0})
	}
	return h.Sum(nil)[:bindSize]
}

// token is opaque to callers and no secret.
func token(bound []byte, cursor string) string {
	return base64.RawURLEncoding.EncodeToString(append(bytes.Clone(bound), cursor...))
}

// cursor gives back what token was made of. ok is false for the empty token: the first page.
func cursor(bound []byte, token string) (at string, ok bool, err error) {
	if token == "" {
		return "", false, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < bindSize {
		return "", false, rule.Bad("page_token", rule.BadField, "is none that this service gave")
	}
	if !bytes.Equal(raw[:bindSize], bound) {
		return "", false, rule.Bad("page_token", rule.BadField, "was given for other arguments; ask again from the first page")
	}
	return string(raw[bindSize:]), true, nil
}
