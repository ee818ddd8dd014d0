package view

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"

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

// latest asks for a page of rows, those with the highest numbers first.
type latest struct {
	number    string // the column of their numbers
	fields    *fields
	filter    string
	pageSize  int32
	pageToken string
	bound     []byte             // what tokens are bound to
	scope     func(c *condition) // lets through what the caller may see; nil: everything
}

// latestPage is how such a page is read.
type latestPage struct {
	rest  string // what follows FROM
	args  []any
	size  int
	bound []byte
}

var usualPages = pages{50, 1_000}

func (q *latest) page() (p latestPage, err error) {
	p.bound = q.bound
	if p.size, err = usualPages.size(q.pageSize); err != nil {
		return p, err
	}
	var c condition
	if err := parseFilter(q.filter, q.fields, &c); err != nil {
		return p, err
	}
	text, paged, err := cursor(q.bound, q.pageToken)
	if err != nil {
		return p, err
	}
	if q.scope != nil {
		q.scope(&c)
	}
	if paged {
		before, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return p, rule.Bad("page_token", rule.BadField, "is none that this service gave")
		}
		c.and(q.number + " < " + c.arg(before))
	}
	if c.sql != "" {
		p.rest = "WHERE " + c.sql
	}
	p.rest += fmt.Sprintf(" ORDER BY %s DESC LIMIT %d", q.number, p.size+1) // one more says whether there is a next page
	p.args = c.args
	return p, nil
}

// cut is the page, of what was read for it, and the token of the next one; empty: there is none.
func cut[R any](p latestPage, read []R, number func(R) int64) (rows []R, next string) {
	if len(read) <= p.size {
		return read, ""
	}
	rows = read[:p.size]
	return rows, token(p.bound, strconv.FormatInt(number(rows[p.size-1]), 10))
}
