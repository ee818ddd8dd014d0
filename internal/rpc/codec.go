package rpc

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/encoding"
	encproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/chuishao/dispatch/internal/rule"
)

// MaxMessage is the size of the largest message that is taken in, in bytes.
const MaxMessage = 4 << 20

// codec is grpc's own for protobuf, except that a message it cannot read is no INTERNAL error of the call, which is all that a
// codec's error could become: the message is handed on empty, with the refusal in its unknown fields, where only the
// interceptors look (faultOf). There, rather than in a table beside, the refusal goes away with its message.
type codec struct {
	encoding.CodecV2
	marker []byte // what begins a refusal in unknown fields; random, so that no caller can forge it
}

// markerField is the largest field number there is.
const markerField = protowire.MaxValidNumber

func newCodec() *codec {
	marker := protowire.AppendTag(nil, markerField, protowire.BytesType)
	return &codec{encoding.GetCodecV2(encproto.Name), append(marker, rand.Text()...)}
}

// Unmarshal reads a message, or leaves in it why it cannot be read.
func (c *codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	if n := data.Len(); n > MaxMessage {
		c.mark(m, nil, rule.Bad("", MessageTooLarge, "want at most %d bytes, got %d", MaxMessage, n).(*rule.Refusal))
		return nil
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	c.read(buf.ReadOnlyData(), m)
	return nil
}

func (c *codec) read(raw []byte, m proto.Message) {
	if err := proto.Unmarshal(raw, m); err != nil {
		c.mark(m, raw, unreadable(raw, m))
	}
}

// mark empties the message and leaves the refusal in it, and what number a stream's message has, so that its answer can be
// told from others.
func (c *codec) mark(m proto.Message, raw []byte, r *rule.Refusal) {
	proto.Reset(m)
	pm := m.ProtoReflect()
	if fd := pm.Descriptor().Fields().ByName("sequence"); fd != nil && fd.Kind() == protoreflect.Uint64Kind {
		if n, ok := firstVarint(raw, fd.Number()); ok {
			pm.Set(fd, protoreflect.ValueOfUint64(n))
		}
	}
	text := bytes.Clone(c.marker)
	text = append(text, strings.Join([]string{string(r.Reason), r.Field, r.Message}, "\x00")...)
	pm.SetUnknown(text)
}

// faultOf gives the refusal that stands in a message that could not be read.
func (c *codec) faultOf(m protoreflect.Message) error {
	unknown := m.GetUnknown()
	if len(unknown) == 0 {
		return nil
	}
	text, marked := bytes.CutPrefix(unknown, c.marker)
	parts := strings.SplitN(string(text), "\x00", 3)
	if !marked || len(parts) != 3 {
		return nil
	}
	return &rule.Refusal{Reason: rule.Reason(parts[0]), Field: parts[1], Message: parts[2]}
}

func firstVarint(raw []byte, number protowire.Number) (uint64, bool) {
	for len(raw) > 0 {
		num, typ, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return 0, false
		}
		raw = raw[n:]
		if num == number && typ == protowire.VarintType {
			v, n := protowire.ConsumeVarint(raw)
			return v, n >= 0
		}
		if n = protowire.ConsumeFieldValue(num, typ, raw); n < 0 {
			return 0, false
		}
		raw = raw[n:]
	}
	return 0, false
}

// unreadable says where the bytes of a message stop making sense.
func unreadable(raw []byte, m proto.Message) *rule.Refusal {
	if r := findFault(raw, m.ProtoReflect().Descriptor(), ""); r != nil {
		return r
	}
	return &rule.Refusal{Reason: rule.MalformedMessage, Message: "the message cannot be read"}
}

func findFault(raw []byte, d protoreflect.MessageDescriptor, at string) *rule.Refusal {
	seen := map[protowire.Number]int{}
	for len(raw) > 0 {
		num, typ, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return &rule.Refusal{Reason: rule.MalformedMessage, Field: strings.TrimSuffix(at, "."), Message: "the message breaks off or is no protobuf"}
		}
		raw = raw[n:]
		fd := d.Fields().ByNumber(num)
		field := at + strconv.Itoa(int(num))
		if fd != nil {
			field = at + string(fd.Name())
			if fd.IsList() {
				field = fmt.Sprintf("%s[%d]", field, seen[num])
			}
		}
		seen[num]++
		n = protowire.ConsumeFieldValue(num, typ, raw)
		if n < 0 {
			return &rule.Refusal{Reason: rule.MalformedMessage, Field: field, Message: "the field breaks off or is no protobuf"}
		}
		value := raw[:n]
		raw = raw[n:]
		if fd == nil || typ != protowire.BytesType {
			continue
		}
		content, _ := protowire.ConsumeBytes(value)
		switch {
		case fd.Kind() == protoreflect.StringKind && !utf8.Valid(content):
			return &rule.Refusal{Reason: rule.InvalidUTF8, Field: field, Message: "is not valid UTF-8"}
		case fd.Kind() == protoreflect.MessageKind:
			if r := findFault(content, fd.Message(), field+"."); r != nil {
				return r
			}
		}
	}
	return nil
}
