package rpc

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// What a request may hold, where nothing else is said of a field.
const (
	maxText     = 8000     // characters of a text of Particulars
	maxString   = 256      // characters of any other string
	maxCode     = 64       // characters of a code
	maxRepeated = 100      // entries of a list
	maxProfile  = 64 << 10 // characters of a deadline profile
)

// check refuses a value of a field. The field's own path is put before the refusal's by the caller.
type check func(v protoreflect.Value) *rule.Refusal

// field is what is checked of one field.
type field struct {
	fd       protoreflect.FieldDescriptor
	required bool
	list     int // most entries; 0: the field is no list
	present  bool
	check    check
}

// plan is what is checked of a message, made once from its descriptor. Plans of messages within it are part of its checks.
type plan []field

// setting is what a plan depends on besides the message it is for.
type setting struct {
	// lax is for other systems' records, which are taken as they are: older times, codes as long as any string, odd characters.
	lax bool
	// texts is inside Particulars, whose strings are whole texts with lines.
	texts bool
}

type planKey struct {
	name protoreflect.FullName
	setting
}

// plans are made as they are asked for and kept.
var plans sync.Map // planKey -> plan

// validate refuses a request whose shape is wrong, and names the field.
func validate(m protoreflect.Message) error {
	if r := planOf(m.Descriptor(), setting{}).run(m); r != nil {
		return r
	}
	return nil
}

// Check refuses a message of the contract as a server would that received it, with a *rule.Refusal that names the field. It is for those who hand a
// command to a dispatcher without a server between.
func Check(m proto.Message) error { return validate(m.ProtoReflect()) }

func (p plan) run(m protoreflect.Message) *rule.Refusal {
	for i := range p {
		f := &p[i]
		if f.present && !m.Has(f.fd) {
			if f.required {
				return missing(f.fd)
			}
			continue
		}
		v := m.Get(f.fd)
		if f.list > 0 {
			if r := f.each(v.List()); r != nil {
				return r
			}
			continue
		}
		if f.required && f.fd.Kind() == protoreflect.StringKind && v.String() == "" {
			return missing(f.fd)
		}
		if r := f.check(v); r != nil {
			r.Field = under(string(f.fd.Name()), r.Field)
			return r
		}
	}
	return nil
}

func (f *field) each(l protoreflect.List) *rule.Refusal {
	n := l.Len()
	if n > f.list {
		return bad(string(f.fd.Name()), rule.TooMany, "want at most %d entries, got %d", f.list, n)
	}
	if f.check == nil {
		return nil
	}
	for i := range n {
		if r := f.check(l.Get(i)); r != nil {
			r.Field = under(fmt.Sprintf("%s[%d]", f.fd.Name(), i), r.Field)
			return r
		}
	}
	return nil
}

func under(outer, inner string) string {
	if inner == "" {
		return outer
	}
	return outer + "." + inner
}

func missing(fd protoreflect.FieldDescriptor) *rule.Refusal {
	return bad(string(fd.Name()), rule.MissingField, "is required")
}

func bad(field string, reason rule.Reason, format string, args ...any) *rule.Refusal {
	return &rule.Refusal{Reason: reason, Field: field, Message: fmt.Sprintf(format, args...)}
}

func planOf(d protoreflect.MessageDescriptor, s setting) plan {
	s.lax = s.lax || d.FullName() == "chuishao.v1.ImportRecordRequest"
	s.texts = d.FullName() == "chuishao.v1.Particulars"
	key := planKey{d.FullName(), s}
	if p, ok := plans.Load(key); ok {
		return p.(plan)
	}
	var p plan
	for i := range d.Fields().Len() {
		if f, ok := fieldOf(d.Fields().Get(i), s); ok {
			p = append(p, f)
		}
	}
	plans.Store(key, p)
	return p
}

func fieldOf(fd protoreflect.FieldDescriptor, s setting) (field, bool) {
	f := field{fd: fd, required: required[path(fd)], check: checkOf(fd, s)}
	// Of a message it must first be known whether it is there; a scalar that is not is its zero value.
	f.present = fd.Message() != nil && !fd.IsList() || fd.HasOptionalKeyword()
	if fd.IsList() {
		f.list = cmp.Or(mostEntries[path(fd)], maxRepeated)
		return f, true
	}
	if f.check == nil && f.required {
		f.check = func(protoreflect.Value) *rule.Refusal { return nil }
	}
	return f, f.check != nil
}

// path is a field's message and name: "SignTicketRequest.name".
func path(fd protoreflect.FieldDescriptor) string {
	return string(fd.ContainingMessage().Name()) + "." + string(fd.Name())
}

// required are the fields without which a request means nothing, besides request_id and name. What else a command needs is the
// rules' to say.
var required = map[string]bool{
	"IntakeTicketsRequest.report":   true,
	"ImportRecordsRequest.record":   true,
	"EraseSubjectRequest.order_ref": true,
	"ListTimelineRequest.name":      true,
	"GetTicketAsOfRequest.name":     true,
	"GetTicketRequest.name":         true,
	"GetWhistleRequest.name":        true,
	"GetPostRequest.name":           true,
	"GetDeliberationRequest.name":   true,
	"GetEntryRequest.name":          true,
}

func init() {
	// Every command has a request id; every one that does not begin a life says whose life it is about.
	for _, file := range []protoreflect.FileDescriptor{pb.File_chuishao_v1_ticket_proto, pb.File_chuishao_v1_whistle_proto,
		pb.File_chuishao_v1_audit_proto, pb.File_chuishao_v1_import_proto, pb.File_chuishao_v1_wall_proto, pb.File_chuishao_v1_admission_proto,
		pb.File_chuishao_v1_listing_proto, pb.File_chuishao_v1_review_proto} {
		for i := range file.Messages().Len() {
			d := file.Messages().Get(i)
			if d.Fields().ByName("request_id") == nil || !strings.HasSuffix(string(d.Name()), "Request") {
				continue
			}
			required[string(d.Name())+".request_id"] = true
			if fd := d.Fields().ByName("name"); fd != nil && d.Name() != "BlowWhistleRequest" {
				required[path(fd)] = true
			}
		}
	}
}

// mostEntries is how many entries a list may have that is shorter than others.
var mostEntries = map[string]int{
	"PostOnWallRequest.tags": 8, "RecordJointHandlingRequest.units": 32, "RecordJointSolvingRequest.units": 32,
	"ChooseMatterRequest.posts": 32, "RecordDeliberationRequest.units": 32,
}

// codeFields are the fields of commands that hold a code. Questions may name areas and dimensions by a record's own text.
var codeFields = map[protoreflect.Name]bool{
	"area": true, "category": true, "lead": true, "co": true, "fallback": true, "complained_of": true, "unit": true,
	"call_item": true, "also_affects": true, "reason": true, "rank": true, "person": true, "phone": true, "id_number": true,
}

// checkOf is what is checked of a single value of the field, nil for nothing.
func checkOf(fd protoreflect.FieldDescriptor, s setting) check {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return stringCheck(fd, s)
	case protoreflect.EnumKind:
		return enumCheck(fd.Enum().Values())
	case protoreflect.MessageKind:
		switch fd.Message().FullName() {
		case "google.protobuf.Timestamp":
			return timeCheck(fd, s)
		case "chuishao.v1.LonLat":
			return lonLatCheck
		case "chuishao.v1.RegistryPiece":
			return nil // the registry lists everything that is wrong with it
		}
		inner := planOf(fd.Message(), s)
		return func(v protoreflect.Value) *rule.Refusal { return inner.run(v.Message()) }
	case protoreflect.BytesKind:
		if fd.Name() == "sha256" {
			return func(v protoreflect.Value) *rule.Refusal {
				if n := len(v.Bytes()); n != 0 && n != 32 {
					return bad("", rule.BadField, "want 32 bytes, got %d", n)
				}
				return nil
			}
		}
		return func(v protoreflect.Value) *rule.Refusal {
			if n := len(v.Bytes()); n > maxText {
				return bad("", rule.FieldTooLong, "want at most %d bytes, got %d", maxText, n)
			}
			return nil
		}
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return func(v protoreflect.Value) *rule.Refusal {
			if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
				return bad("", rule.BadField, "is not a number")
			}
			return nil
		}
	case protoreflect.Int32Kind:
		if fd.Name() == "page_size" {
			return func(v protoreflect.Value) *rule.Refusal {
				if v.Int() < 0 {
					return bad("", rule.BadField, "is negative")
				}
				return nil
			}
		}
	}
	return nil
}

// isQuestion tells a request that only asks from one that commands.
func isQuestion(d protoreflect.MessageDescriptor) bool {
	return strings.HasSuffix(string(d.Name()), "Request") && d.Fields().ByName("request_id") == nil
}

func stringCheck(fd protoreflect.FieldDescriptor, s setting) check {
	most := maxString
	request := string(fd.ContainingMessage().Name())
	question := isQuestion(fd.ContainingMessage())
	switch {
	case s.texts:
		most = maxText
	case fd.Name() == "request_id":
		return requestIDCheck
	case fd.Name() == "etag":
		return etagCheck
	case fd.Name() == "name" && strings.HasSuffix(request, "Request"):
		return nameCheck(false, collections(fd)...)
	case path(fd) == "BlowWhistleRequest.tickets":
		return nameCheck(true, "tickets/")
	case fd.Name() == "source" && strings.HasSuffix(request, "Request"):
		return sourceCheck
	case path(fd) == "LoadRegistryRequest.version":
		return versionCheck
	case path(fd) == "RequestExcuseRequest.ruling_ref":
		return printable(200, rule.BadField)
	case path(fd) == "ReportTicketRequest.source_ref", path(fd) == "ReplySupervisionRequest.owner", fd.Name() == "order_ref":
		return printable(128, rule.BadField)
	case fd.Name() == "source_ref":
		most = 128
	case path(fd) == "RecordContactRequest.channel":
		most = 32
	case fd.Name() == "uri":
		most = 500
	case fd.Name() == "filter":
		most = 2048
	case fd.Name() == "page_token":
		most = 1024
	case codeFields[fd.Name()] && !s.lax && !question:
		most = maxCode
	}
	lines, lax := s.texts, s.lax
	if path(fd) == "LoadProfileRequest.content" {
		most, lines = maxProfile, true
	}
	return func(v protoreflect.Value) *rule.Refusal {
		text := v.String()
		if len(text) > most && utf8.RuneCountInString(text) > most {
			return bad("", rule.FieldTooLong, "want at most %d characters, got %d", most, utf8.RuneCountInString(text))
		}
		for i := 0; i < len(text); i++ {
			c := text[i]
			if c >= ' ' && c != 0x7f && c != 0xc2 {
				continue
			}
			switch {
			case c == 0xc2 && i+1 < len(text) && text[i+1] >= 0xa0:
			case lax && c != 0:
			case lines && (c == '\n' || c == '\t' || c == '\r'):
			default:
				return bad("", rule.BadField, "holds a control character at byte %d", i)
			}
		}
		return nil
	}
}

func requestIDCheck(v protoreflect.Value) *rule.Refusal {
	if !printableASCII(v.String(), 128) {
		return bad("", rule.InvalidRequestID, "want 1 to 128 printable ASCII characters")
	}
	return nil
}

// printable refuses what is not empty and not printable ASCII of at most so many characters.
func printable(most int, reason rule.Reason) check {
	return func(v protoreflect.Value) *rule.Refusal {
		if !printableASCII(v.String(), most) {
			return bad("", reason, "want 1 to %d printable ASCII characters", most)
		}
		return nil
	}
}

func printableASCII(s string, most int) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= most
}

func etagCheck(v protoreflect.Value) *rule.Refusal {
	s := v.String()
	if s == "" {
		return nil
	}
	digits := len(s) - 2
	ok := digits >= 1 && digits <= 19 && s[0] == '"' && s[len(s)-1] == '"'
	for i := 1; ok && i <= digits; i++ {
		ok = s[i] >= '0' && s[i] <= '9'
	}
	if !ok {
		return bad("", rule.InvalidETag, "want what an answer gave as etag, with its quotes")
	}
	return nil
}

func sourceCheck(v protoreflect.Value) *rule.Refusal {
	s := v.String()
	ok := len(s) <= 32
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
	}
	if !ok {
		return bad("", rule.BadField, "want 1 to 32 of a-z 0-9 - _")
	}
	return nil
}

func versionCheck(v protoreflect.Value) *rule.Refusal {
	s := v.String()
	ok := len(s) <= 64
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
	}
	if !ok {
		return bad("", rule.BadField, "want 1 to 64 of A-Z a-z 0-9 - _ .")
	}
	return nil
}

// collections are those whose names a request's name may be.
func collections(fd protoreflect.FieldDescriptor) []string {
	switch fd.ContainingMessage().Name() {
	case "StreamHistoryRequest", "ListTimelineRequest":
		list := []string{"tickets/", "whistles/"}
		for _, r := range rule.Resources {
			list = append(list, r.Collection+"/")
		}
		return list
	case "EraseSubjectRequest":
		return []string{"tickets/", "posts/"}
	}
	name := fd.ContainingMessage().Name()
	if of, ok := strings.CutPrefix(strings.TrimSuffix(string(name), "Request"), "Get"); ok {
		for _, r := range rule.Resources {
			if resourceTypes[r.Collection] == of {
				return []string{r.Collection + "/"}
			}
		}
	}
	return []string{rule.ResourceOf(dynamicpb.NewMessage(fd.ContainingMessage())).Collection + "/"}
}

// nameCheck refuses what is no name in the collections; an empty one only in a list.
func nameCheck(listed bool, collections ...string) check {
	want := strings.Join(collections, "{id} or ") + "{id}"
	return func(v protoreflect.Value) *rule.Refusal {
		s := v.String()
		if s == "" && !listed {
			return nil
		}
		for _, c := range collections {
			if len(s) == len(c)+36 && s[:len(c)] == c && isUUID(s[len(c):]) {
				return nil
			}
		}
		return bad("", rule.InvalidName, "want %s, the id a UUID in lower case", want)
	}
}

// isUUID looks at 36 bytes: groups of 8, 4, 4, 4 and 12 digits.
func isUUID(s string) bool {
	for i := range 36 {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

func enumCheck(values protoreflect.EnumValueDescriptors) check {
	// Most enums count up without gaps, which spares the look-up.
	dense := protoreflect.EnumNumber(values.Len())
	for i := range values.Len() {
		if values.Get(i).Number() != protoreflect.EnumNumber(i) {
			dense = 0
		}
	}
	return func(v protoreflect.Value) *rule.Refusal {
		n := v.Enum()
		if n >= 0 && n < dense || dense == 0 && values.ByNumber(n) != nil {
			return nil
		}
		return bad("", rule.UnknownValue, "%d is no value of %s", n, values.Get(0).Parent().Name())
	}
}

// timeCheck bounds an instant. A command is about our own time; records and questions about the past may go back further.
func timeCheck(fd protoreflect.FieldDescriptor, s setting) check {
	from, to := 1990, 2100
	if s.lax || isQuestion(fd.ContainingMessage()) {
		from = 1900
	}
	first := time.Date(from, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	end := time.Date(to, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	return func(v protoreflect.Value) *rule.Refusal {
		t, ok := v.Message().Interface().(*timestamppb.Timestamp)
		switch {
		case !ok:
			return bad("", rule.BadField, "is no timestamp")
		case t.Nanos < 0 || t.Nanos > 999_999_999:
			return bad("nanos", rule.TimeOutOfRange, "want 0 to 999999999")
		case t.Seconds < first || t.Seconds >= end:
			return bad("", rule.TimeOutOfRange, "want a time of the years %d to %d", from, to-1)
		}
		return nil
	}
}

func lonLatCheck(v protoreflect.Value) *rule.Refusal {
	p, ok := v.Message().Interface().(*pb.LonLat)
	switch {
	case !ok:
		return bad("", rule.BadField, "is no position")
	case !(p.Lon >= -180 && p.Lon <= 180): // NaN is in no range
		return bad("lon", rule.BadField, "want degrees from -180 to 180")
	case !(p.Lat >= -90 && p.Lat <= 90):
		return bad("lat", rule.BadField, "want degrees from -90 to 90")
	}
	if _, known := pb.Datum_name[int32(p.Datum)]; !known {
		return bad("datum", rule.UnknownValue, "%d is no value of Datum", p.Datum)
	}
	return nil
}

// requestID is the id of the request a message carries, if it carries one.
func requestID(m any) string {
	if r, ok := m.(interface{ GetRequestId() string }); ok {
		return r.GetRequestId()
	}
	return ""
}
