package view

import "encoding/binary"

// appendInstant adds an instant as its distance from one that lies near, which is short; 0 is never.
func appendInstant(buf []byte, base, t int64) []byte {
	switch {
	case t == never:
		return append(buf, 0)
	case t >= base:
		return binary.AppendVarint(buf, t-base+1)
	}
	return binary.AppendVarint(buf, t-base)
}

// appendIDs adds how many ids there are, and these.
func appendIDs(buf []byte, ids []int64) []byte {
	return appendKeys(binary.AppendUvarint(buf, uint64(len(ids))), ids)
}

// unpacker reads what a row keeps in bytes; after the first fault it gives zeroes.
type unpacker struct {
	buf  []byte
	base int64 // that instants are told from
	cut  bool  // the bytes ended too early
}

// whole says whether all of it could be read and nothing is left.
func (u *unpacker) whole() bool { return !u.cut && len(u.buf) == 0 }

func (u *unpacker) next() uint64 {
	v, n := binary.Uvarint(u.buf)
	if n <= 0 {
		u.cut, u.buf = true, nil
		return 0
	}
	u.buf = u.buf[n:]
	return v
}

func (u *unpacker) signed() int64 {
	v := u.next()
	return int64(v>>1) ^ -int64(v&1)
}

// instant reads what appendInstant wrote.
func (u *unpacker) instant() int64 {
	switch v := u.signed(); {
	case v == 0:
		return never
	case v > 0:
		return u.base + v - 1
	default:
		return u.base + v
	}
}

// count reads how many follow: never more than there are bytes.
func (u *unpacker) count() int {
	n := u.next()
	if n > uint64(len(u.buf)) {
		u.cut = true
		return 0
	}
	return int(n)
}

// ids reads what appendIDs wrote, into a list that may be used again.
func (u *unpacker) ids(into []int64) []int64 {
	into = into[:0]
	for range u.count() {
		into = append(into, int64(u.next()))
	}
	return into
}

// text reads what appendText wrote.
func (u *unpacker) text() string {
	n := u.next()
	if n > uint64(len(u.buf)) {
		u.cut, u.buf = true, nil
		return ""
	}
	s := string(u.buf[:n])
	u.buf = u.buf[n:]
	return s
}
