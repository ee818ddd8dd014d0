// Package event turns events into what a store keeps and back, and chains them by hashes.
package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
)

// Hash chains an event to the one before it in its stream. The zero value stands before a stream's first event.
type Hash [sha256.Size]byte

// Decoded is a recorded event, understood.
type Decoded struct {
	eventstore.Recorded
	Meta  *pb.EventMeta
	Event proto.Message
}

// Hash is the event's own link of the chain.
func (d *Decoded) Hash() Hash { return Hash(d.Meta.Hash) }

// The envelope's bytes end with field 15, the hash: a tag, a length and 32 bytes.
const (
	hashTag    = 15<<3 | 2
	hashSuffix = 2 + sha256.Size
)

var (
	marshal = proto.MarshalOptions{Deterministic: true}
	// sized is marshal for a message whose size was just asked for.
	sized = proto.MarshalOptions{Deterministic: true, UseCachedSize: true}
)

// ID is the id of the event with a hash: a UUID (version 8) of the hash's bytes. So equal ids mean equal bytes, and a store that takes events with the
// same ids for the same events is right to do so.
func ID(h Hash) [16]byte {
	id := [16]byte(h[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}

// Encode makes the event that is to be recorded in the stream as version, after one whose hash is prev. Meta's hash is set.
func Encode(stream string, version eventstore.Version, prev Hash, meta *pb.EventMeta, msg proto.Message) (eventstore.Event, error) {
	typ := TypeOf(msg)
	if _, known := types[typ]; !known {
		return eventstore.Event{}, fmt.Errorf("encode %s: not an event", typ)
	}
	data, err := marshal.Marshal(msg)
	if err != nil {
		return eventstore.Event{}, fmt.Errorf("encode %s: %w", typ, err)
	}
	meta.Hash = nil
	size := proto.Size(meta)
	head, err := sized.MarshalAppend(make([]byte, 0, size+hashSuffix), meta)
	if err != nil {
		return eventstore.Event{}, fmt.Errorf("encode envelope of %s: %w", typ, err)
	}
	e := eventstore.Event{Type: typ, Data: data}
	hash := link(prev, stream, version, &e, head)
	e.ID = ID(hash)
	meta.Hash = hash[:]
	e.Meta = append(append(head, hashTag, sha256.Size), hash[:]...)
	return e, nil
}

// Decode understands a recorded event. An event type that is not known is an error: to skip an event is to guess at the past.
func Decode(r eventstore.Recorded) (Decoded, error) {
	d := Decoded{Recorded: r, Meta: new(pb.EventMeta)}
	make, known := types[r.Type]
	if !known {
		return d, &DecodeError{r.Stream, r.Version, fmt.Errorf("unknown event type %q", r.Type)}
	}
	if err := proto.Unmarshal(r.Meta, d.Meta); err != nil {
		return d, &DecodeError{r.Stream, r.Version, fmt.Errorf("envelope: %w", err)}
	}
	if len(d.Meta.Hash) != sha256.Size {
		return d, &DecodeError{r.Stream, r.Version, errors.New("envelope: no hash")}
	}
	d.Event = make()
	if err := proto.Unmarshal(r.Data, d.Event); err != nil {
		return d, &DecodeError{r.Stream, r.Version, fmt.Errorf("%s: %w", r.Type, err)}
	}
	return d, nil
}

// DecodeError says which event could not be understood.
type DecodeError struct {
	Stream  string
	Version eventstore.Version
	Err     error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("event %s@%d: %v", e.Stream, e.Version, e.Err)
}

// Unwrap gives the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// Verify checks that a recorded event is, byte for byte, the one that was chained to prev, and gives its hash.
func Verify(prev Hash, r *eventstore.Recorded) (Hash, error) {
	n := len(r.Meta) - hashSuffix
	if n < 0 || r.Meta[n] != hashTag || r.Meta[n+1] != sha256.Size {
		return Hash{}, &DecodeError{r.Stream, r.Version, errors.New("envelope does not end with a hash")}
	}
	want := link(prev, r.Stream, r.Version, &r.Event, r.Meta[:n])
	if r.ID != ID(want) || !bytes.Equal(want[:], r.Meta[n+2:]) {
		return Hash{}, &DecodeError{r.Stream, r.Version, errors.New("hash differs: this event or one before it was changed, dropped, inserted or moved")}
	}
	return want, nil
}

// link hashes everything an event is, each part led by its length so that no two events hash the same bytes.
func link(prev Hash, stream string, version eventstore.Version, e *eventstore.Event, head []byte) Hash {
	buf := make([]byte, 0, 2048) // most events fit, and then it is no allocation
	buf = append(buf, prev[:]...)
	buf = binary.AppendUvarint(buf, uint64(len(stream)))
	buf = append(buf, stream...)
	buf = binary.AppendUvarint(buf, uint64(version))
	buf = binary.AppendUvarint(buf, uint64(len(e.Type)))
	buf = append(buf, e.Type...)
	buf = binary.AppendUvarint(buf, uint64(len(head)))
	buf = append(buf, head...)
	buf = append(buf, e.Data...)
	return sha256.Sum256(buf)
}

// TypeOf is the type an event is recorded under: its message's name.
func TypeOf(msg proto.Message) string { return string(msg.ProtoReflect().Descriptor().Name()) }
