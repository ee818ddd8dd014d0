package bus

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/chuishao/dispatch/internal/event"
)

// contract begins the types of events.
const contract = "chuishao.v1."

// headersOf are an event's attributes in the binary mode of CloudEvents. Of who acted they have the role and the unit: persons are nobody else's business on a bus.
// Neither the request's id, which is the caller's own, nor its fingerprint is told.
func headersOf(d *event.Decoded, source string, confidential bool) nats.Header {
	h := nats.Header{}
	set := func(name, value string) {
		if value != "" {
			h.Set("ce-"+name, encoded(value))
		}
	}
	_, partition, _ := strings.Cut(d.Stream, "-")
	set("specversion", "1.0")
	set("id", uuid(d.ID))
	set("source", source)
	set("type", contract+d.Type)
	set("subject", d.Stream)
	set("time", instant(d.Meta.OccurredAt))
	set("recordedtime", instant(d.Meta.RecordedAt))
	set("datacontenttype", "application/protobuf")
	set("sequence", fmt.Sprintf("%020d", d.Version))
	set("partitionkey", partition)
	set("causationid", d.Meta.CausedBy)
	set("correlationid", d.Meta.Correlation)
	set("actorunit", d.Meta.GetActor().GetUnit())
	if role := d.Meta.GetActor().GetRole(); role != 0 {
		set("actorrole", strings.TrimPrefix(role.String(), "ROLE_"))
	}
	if confidential {
		set("dataclassification", "confidential")
	}
	return h
}

func instant(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339Nano)
}

func uuid(id [16]byte) string {
	x := hex.EncodeToString(id[:])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// encoded is a value as headers of CloudEvents have it: percent-encoded outside of the printable characters, space, quote and percent too.
func encoded(value string) string {
	if !strings.ContainsFunc(value, special) {
		return value
	}
	var b strings.Builder
	for _, c := range []byte(value) {
		if special(rune(c)) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func special(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '%' }
