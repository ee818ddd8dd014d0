package importing

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// What a record's texts may be long, in characters. Free text is bounded by what Particulars can hold.
const (
	maxText = 8000
	maxWord = 500
	maxID   = 128
)

// binding is a mapping laid on a file's header: where each column stands, -1 where the mapping has none.
type binding struct {
	m      *Mapping
	header []string

	id, reported, closed, due             int
	category, subcategory, agency, status int
	onTime, channel, lon, lat             int

	title, text, place, cause, course, reply, note []int
	name, phone, idNumber, address                 int

	levels     []boundLevel
	tree, dims int
}

type boundLevel struct {
	level
	column, name int
	missing      string // the kind of oddity
}

// bind finds the mapping's columns in a header. An error lists all that are missing.
func (m *Mapping) bind(file string, header []string) (*binding, error) {
	places := map[string]int{}
	twice := map[string]bool{}
	for i, name := range header {
		if _, is := places[name]; is {
			twice[name] = true
		}
		places[name] = i
	}
	var faults []error
	find := func(c column) int {
		if !c.set() {
			return -1
		}
		i, ok := places[c.name]
		switch {
		case !ok:
			faults = append(faults, fmt.Errorf("%s: the header of %s has no column %q", c.at, file, c.name))
		case twice[c.name]:
			faults = append(faults, fmt.Errorf("%s: the header of %s has more than one column %q", c.at, file, c.name))
		}
		return i
	}
	all := func(cs []column) []int {
		var at []int
		for _, c := range cs {
			at = append(at, find(c))
		}
		return at
	}
	b := &binding{
		m: m, header: header,
		id: find(m.id), reported: find(m.reported), closed: find(m.closed), due: find(m.due),
		category: find(m.category), subcategory: find(m.subcategory), agency: find(m.agency), status: find(m.status),
		onTime: find(m.onTime), channel: find(m.channel), lon: find(m.lon), lat: find(m.lat),
		title: all(m.title), text: all(m.text), place: all(m.place), cause: all(m.cause), course: all(m.course), reply: all(m.reply), note: all(m.note),
		name: find(m.name), phone: find(m.phone), idNumber: find(m.idNumber), address: find(m.address),
	}
	for _, l := range m.levels {
		b.levels = append(b.levels, boundLevel{l, find(l.column), find(l.name), LevelMissing + l.Name})
		if l.Tree {
			b.tree++
		} else {
			b.dims++
		}
	}
	return b, errors.Join(faults...)
}

// reason is a kind of reason why a row went to quarantine.
type reason string

const (
	badColumns  reason = "wrong number of columns"
	badQuoting  reason = "bad quoting"
	badText     reason = "no text"
	cutOff      reason = "cut off"
	tooLong     reason = "too long"
	noID        reason = "no id"
	noReported  reason = "no reported time"
	badTime     reason = "unreadable time"
	byRule      reason = "refused: "
	noneOfThese reason = ""
)

// numbering tells rows with one id apart. Ids are kept as hashes, in at most 48 bytes each.
type numbering map[[16]byte]uint32

// ref is the source reference of the next row with the id.
func (n numbering) ref(id string) (ref string, nth uint32) {
	sum := sha256.Sum256([]byte(id))
	key := [16]byte(sum[:16])
	n[key]++
	nth = n[key]
	ref = escape(id)
	if nth > 1 {
		ref += "#" + strconv.FormatUint(uint64(nth), 10)
	}
	return shorten(ref), nth
}

// escape makes any id printable ASCII without spaces, so that no two become one.
func escape(id string) string {
	numbered := len(id)
	for i := len(id); i > 0; i-- {
		if c := id[i-1]; c == '#' && i < len(id) {
			numbered = i - 1
			break
		} else if c < '0' || c > '9' {
			break
		}
	}
	plain := numbered == len(id)
	for i := 0; i < len(id) && plain; i++ {
		plain = id[i] > ' ' && id[i] < 0x7f && id[i] != '%'
	}
	if plain {
		return id
	}
	var to strings.Builder
	for i := range len(id) {
		if c := id[i]; c > ' ' && c < 0x7f && c != '%' && i != numbered {
			to.WriteByte(c)
		} else {
			fmt.Fprintf(&to, "%%%02X", c)
		}
	}
	return to.String()
}

// shorten keeps what has at most maxID bytes, and tells longer ones apart by their hash.
func shorten(s string) string {
	if len(s) <= maxID {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return s[:maxID-1-hex.EncodedLen(len(sum))] + "~" + hex.EncodeToString(sum[:])
}

// record is a request and the parts it points to, in one piece of memory.
type record struct {
	req                         pb.ImportRecordRequest
	reportedAt, closedAt, dueAt timestamppb.Timestamp
	position                    pb.LonLat
	particulars                 pb.Particulars
	petitioner                  pb.Petitioner
	reported                    time.Time
}

// record maps a row. It counts the row's id even if it finds the row unreadable, which why then says. Why names columns and
// never what stands in them.
func (b *binding) record(fields []string, ids numbering) (got *record, kind reason, why string) {
	id := fields[b.id]
	if blank(id) {
		return nil, noID, b.header[b.id] + ": is empty"
	}
	ref, nth := ids.ref(id)

	got = &record{}
	req := &got.req
	req.Source, req.SourceRef = b.m.source, ref
	req.RequestId = shorten("import/" + b.m.source + "/" + ref)

	when := func(at int) (time.Time, bool) {
		if at < 0 {
			return time.Time{}, true
		}
		text := strings.TrimSpace(fields[at])
		if text == "" {
			return time.Time{}, true
		}
		t, ok := b.m.time(text)
		if !ok && kind == "" {
			kind, why = badTime, b.header[at]+": is not a time of the mapping's formats"
		}
		return t, ok
	}
	reported, ok := when(b.reported)
	if ok && blank(fields[b.reported]) {
		return nil, noReported, b.header[b.reported] + ": is empty"
	}
	closed, _ := when(b.closed)
	due, _ := when(b.due)
	if kind != "" {
		return nil, kind, why
	}
	got.reported = reported
	req.OccurredAt = stamp(&got.reportedAt, reported)
	if !closed.IsZero() {
		req.ClosedAt = stamp(&got.closedAt, closed)
	}
	if !due.IsZero() {
		req.DueAt = stamp(&got.dueAt, due)
	}

	// word is a text that is imported in the clear, as it stands.
	word := func(at int, max int) string {
		if at < 0 {
			return ""
		}
		text := fields[at]
		if len(text) > max && utf8.RuneCountInString(text) > max && kind == "" {
			kind, why = tooLong, fmt.Sprintf("%s: has more than %d characters", b.header[at], max)
		}
		return text
	}
	req.Category, req.Subcategory = word(b.category, maxWord), word(b.subcategory, maxWord)
	req.Agency, req.Status = word(b.agency, maxWord), word(b.status, maxWord)

	if nth > 1 {
		req.Oddities = append(req.Oddities, IDRepeated)
	}
	b.odd(req, reported, closed, due, fields)
	b.locate(got, fields, word)

	req.Channel = b.m.channelOrElse
	if b.channel >= 0 {
		if c, ok := b.m.channels[fields[b.channel]]; ok {
			req.Channel = c
		} else if blank(fields[b.channel]) {
			req.Oddities = append(req.Oddities, ChannelMissing)
		} else {
			req.Oddities = append(req.Oddities, ChannelUnknown)
		}
	}

	texts := func(at []int) string {
		if len(at) == 1 {
			text := word(at[0], maxText)
			if blank(text) {
				return ""
			}
			return text
		}
		var joined string
		for _, i := range at {
			if text := strings.TrimSpace(word(i, maxText)); text != "" && joined != "" {
				joined += "; " + text
			} else {
				joined += text
			}
		}
		if len(joined) > maxText && utf8.RuneCountInString(joined) > maxText && kind == "" {
			kind, why = tooLong, fmt.Sprintf("%s and what is joined to it: has more than %d characters", b.header[at[0]], maxText)
		}
		return joined
	}
	p := &got.particulars
	p.Title, p.Text, p.Place, p.Cause = texts(b.title), texts(b.text), texts(b.place), texts(b.cause)
	p.Course, p.Reply, p.Note = texts(b.course), texts(b.reply), texts(b.note)
	who := &got.petitioner
	who.Name, who.IdNumber, who.Address = strings.TrimSpace(word(b.name, maxWord)), strings.TrimSpace(word(b.idNumber, maxWord)), strings.TrimSpace(word(b.address, maxWord))
	if phone := strings.TrimSpace(word(b.phone, maxWord)); phone != "" {
		if who.Phone, ok = digits(phone); !ok {
			req.Oddities = append(req.Oddities, PhoneUnreadable)
			p.Note = strings.TrimPrefix(p.Note+"; "+phone, "; ")
		}
	}
	if who.Name != "" || who.Phone != "" || who.IdNumber != "" || who.Address != "" {
		p.Petitioner = who
	}
	if p.Petitioner != nil || p.Title != "" || p.Text != "" || p.Place != "" || p.Cause != "" || p.Course != "" || p.Reply != "" || p.Note != "" {
		req.Particulars = p
	}
	if kind != "" {
		return nil, kind, why
	}
	return got, noneOfThese, ""
}

// locate sets position, path and dimensions.
func (b *binding) locate(got *record, fields []string, word func(at, max int) string) {
	req := &got.req
	if b.lon >= 0 {
		lon, lat := strings.TrimSpace(fields[b.lon]), strings.TrimSpace(fields[b.lat])
		x, okX := degrees(lon, 180)
		y, okY := degrees(lat, 90)
		switch {
		case lon == "" && lat == "":
			req.Oddities = append(req.Oddities, PositionMissing)
		case !okX || !okY:
			req.Oddities = append(req.Oddities, PositionUnreadable)
		default:
			got.position.Lon, got.position.Lat, got.position.Datum = x, y, b.m.datum
			req.Position = &got.position
		}
	}
	if len(b.levels) == 0 {
		return
	}
	dims := make([]pb.Dimension, b.dims)
	if b.dims > 0 {
		req.Dimensions = make([]*pb.Dimension, 0, b.dims)
	}
	for i := range b.levels {
		l := &b.levels[i]
		text := word(l.column, maxWord)
		if blank(text) {
			req.Oddities = append(req.Oddities, l.missing)
		}
		if !l.Tree {
			d := &dims[len(req.Dimensions)]
			d.Level, d.Value = l.Name, text
			req.Dimensions = append(req.Dimensions, d)
			continue
		}
		if text == "" {
			continue
		}
		name := word(l.name, maxWord)
		if name == "" {
			name = text
		}
		req.Path = append(req.Path, &pb.AreaNode{Level: l.Name, Code: text, Name: name})
	}
	if b.tree > 0 && len(req.Path) == 0 {
		req.Oddities = append(req.Oddities, PathMissing)
	}
}

func blank(s string) bool {
	return s == "" || strings.TrimSpace(s) == ""
}

func stamp(to *timestamppb.Timestamp, t time.Time) *timestamppb.Timestamp {
	to.Seconds, to.Nanos = t.Unix(), int32(t.Nanosecond())
	return to
}

func degrees(text string, most float64) (float64, bool) {
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil && !math.IsNaN(f) && math.Abs(f) <= most
}

// digits is a phone number without what is only written between its digits.
func digits(phone string) (string, bool) {
	var to []byte
	for i := range len(phone) {
		switch c := phone[i]; {
		case c >= '0' && c <= '9', c == '+' && len(to) == 0:
			to = append(to, c)
		case strings.IndexByte(" -().", c) < 0:
			return "", false
		}
	}
	return string(to), len(to) >= 3 && len(to) <= 20
}
