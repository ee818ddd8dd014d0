package rpc

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

const id = "0b0c7a5e-3f6e-5b1c-9a55-0f1c3c1f2d10"

func year(y int) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(y, 6, 1, 0, 0, 0, 0, time.UTC))
}

func TestMessagesAreCheckedFieldByField(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("长", maxString+1)
	many := make([]string, maxRepeated+1)
	sign := func(edit func(*pb.SignTicketRequest)) proto.Message {
		m := &pb.SignTicketRequest{Name: "tickets/" + id, RequestId: "r"}
		edit(m)
		return m
	}
	report := func(edit func(*pb.ReportTicketRequest)) *pb.ReportTicketRequest {
		m := &pb.ReportTicketRequest{RequestId: "r"}
		edit(m)
		return m
	}
	for _, c := range []struct {
		m      proto.Message
		reason rule.Reason // empty: nothing is wrong
		field  string
	}{
		{sign(func(m *pb.SignTicketRequest) {}), "", ""},
		{sign(func(m *pb.SignTicketRequest) { m.Name = "" }), rule.MissingField, "name"},
		{sign(func(m *pb.SignTicketRequest) { m.Name = "tickets/1" }), rule.InvalidName, "name"},
		{sign(func(m *pb.SignTicketRequest) { m.Name = "whistles/" + id }), rule.InvalidName, "name"},
		{sign(func(m *pb.SignTicketRequest) { m.Name = "tickets/" + strings.ToUpper(id) }), rule.InvalidName, "name"},
		{sign(func(m *pb.SignTicketRequest) { m.RequestId = "" }), rule.MissingField, "request_id"},
		{sign(func(m *pb.SignTicketRequest) { m.RequestId = strings.Repeat("r", 128) }), "", ""},
		{sign(func(m *pb.SignTicketRequest) { m.RequestId = strings.Repeat("r", 129) }), rule.InvalidRequestID, "request_id"},
		{sign(func(m *pb.SignTicketRequest) { m.RequestId = "a\nb" }), rule.InvalidRequestID, "request_id"},
		{sign(func(m *pb.SignTicketRequest) { m.RequestId = "编号" }), rule.InvalidRequestID, "request_id"},
		{sign(func(m *pb.SignTicketRequest) { m.Etag = `"7"` }), "", ""},
		{sign(func(m *pb.SignTicketRequest) { m.Etag = `7` }), rule.InvalidETag, "etag"},
		{sign(func(m *pb.SignTicketRequest) { m.Etag = `""` }), rule.InvalidETag, "etag"},
		{sign(func(m *pb.SignTicketRequest) { m.Etag = `"-1"` }), rule.InvalidETag, "etag"},
		{sign(func(m *pb.SignTicketRequest) { m.Etag = `"99999999999999999999"` }), rule.InvalidETag, "etag"},
		{sign(func(m *pb.SignTicketRequest) { m.OccurredAt = year(9999) }), rule.TimeOutOfRange, "occurred_at"},
		{sign(func(m *pb.SignTicketRequest) { m.OccurredAt = year(1989) }), rule.TimeOutOfRange, "occurred_at"},
		{sign(func(m *pb.SignTicketRequest) { m.OccurredAt = year(2099) }), "", ""},
		{sign(func(m *pb.SignTicketRequest) { m.OccurredAt = &timestamppb.Timestamp{Seconds: math.MaxInt64} }), rule.TimeOutOfRange, "occurred_at"},
		{sign(func(m *pb.SignTicketRequest) { m.OccurredAt = &timestamppb.Timestamp{Seconds: 1e9, Nanos: -1} }), rule.TimeOutOfRange, "occurred_at.nanos"},

		{report(func(m *pb.ReportTicketRequest) {
			m.Particulars = &pb.Particulars{Text: strings.Repeat("长", maxText), Place: "一行\n又一行\t"}
		}), "", ""},
		{report(func(m *pb.ReportTicketRequest) {
			m.Particulars = &pb.Particulars{Text: strings.Repeat("长", maxText+1)}
		}), rule.FieldTooLong, "particulars.text"},
		{report(func(m *pb.ReportTicketRequest) { m.Particulars = &pb.Particulars{Text: "\x00"} }), rule.BadField, "particulars.text"},
		{report(func(m *pb.ReportTicketRequest) { m.Particulars = &pb.Particulars{Text: "a\u0085b"} }), rule.BadField, "particulars.text"},
		{report(func(m *pb.ReportTicketRequest) { m.Particulars = &pb.Particulars{Text: "§"} }), "", ""},
		{report(func(m *pb.ReportTicketRequest) {
			m.Particulars = &pb.Particulars{Petitioner: &pb.Petitioner{Name: "a\nb"}}
		}), rule.BadField, "particulars.petitioner.name"},
		{report(func(m *pb.ReportTicketRequest) { m.Area = strings.Repeat("1", 65) }), rule.FieldTooLong, "area"},
		{report(func(m *pb.ReportTicketRequest) { m.Source = "12345-hotline" }), "", ""},
		{report(func(m *pb.ReportTicketRequest) { m.Source = "Hot Line" }), rule.BadField, "source"},
		{report(func(m *pb.ReportTicketRequest) { m.SourceRef = strings.Repeat("1", 129) }), rule.BadField, "source_ref"},
		{report(func(m *pb.ReportTicketRequest) { m.Channel = -1 }), rule.UnknownValue, "channel"},
		{report(func(m *pb.ReportTicketRequest) { m.Kind = 8 }), rule.UnknownValue, "kind"},
		{report(func(m *pb.ReportTicketRequest) { m.Position = &pb.LonLat{Lon: math.NaN()} }), rule.BadField, "position.lon"},
		{report(func(m *pb.ReportTicketRequest) { m.Position = &pb.LonLat{Lat: math.Inf(1)} }), rule.BadField, "position.lat"},
		{report(func(m *pb.ReportTicketRequest) { m.Position = &pb.LonLat{Lat: 90.1} }), rule.BadField, "position.lat"},
		{report(func(m *pb.ReportTicketRequest) { m.Position = &pb.LonLat{Datum: 9} }), rule.UnknownValue, "position.datum"},
		{report(func(m *pb.ReportTicketRequest) { m.AlsoAffects = many }), rule.TooMany, "also_affects"},
		{report(func(m *pb.ReportTicketRequest) { m.AlsoAffects = []string{"1", "\x7f"} }), rule.BadField, "also_affects[1]"},
		{report(func(m *pb.ReportTicketRequest) { m.Attachments = []*pb.Attachment{{}, {Uri: strings.Repeat("u", 501)}} }), rule.FieldTooLong, "attachments[1].uri"},
		{report(func(m *pb.ReportTicketRequest) { m.Attachments = []*pb.Attachment{{Sha256: []byte("short")}} }), rule.BadField, "attachments[0].sha256"},
		{report(func(m *pb.ReportTicketRequest) { m.Attachments = []*pb.Attachment{{ShotAt: year(9999)}} }), rule.TimeOutOfRange, "attachments[0].shot_at"},

		{&pb.IntakeTicketsRequest{}, rule.MissingField, "report"},
		{&pb.IntakeTicketsRequest{Report: report(func(m *pb.ReportTicketRequest) { m.RequestId = "" })}, rule.MissingField, "report.request_id"},
		{&pb.ImportRecordsRequest{Record: &pb.ImportRecordRequest{RequestId: "r", OccurredAt: year(1901), Category: long[:3*200], Status: "a\x01"}}, "", ""},
		{&pb.ImportRecordsRequest{Record: &pb.ImportRecordRequest{RequestId: "r", OccurredAt: year(1899)}}, rule.TimeOutOfRange, "record.occurred_at"},
		{&pb.ImportRecordsRequest{Record: &pb.ImportRecordRequest{RequestId: "r", Status: "a\x00"}}, rule.BadField, "record.status"},

		{&pb.BlowWhistleRequest{RequestId: "r"}, "", ""},
		{&pb.BlowWhistleRequest{RequestId: "r", Name: "tickets/" + id}, rule.InvalidName, "name"},
		{&pb.BlowWhistleRequest{RequestId: "r", Tickets: []string{"tickets/" + id, ""}}, rule.InvalidName, "tickets[1]"},
		{&pb.BlowWhistleRequest{RequestId: "r", Summons: []*pb.Summons{{Unit: long}}}, rule.FieldTooLong, "summons[0].unit"},

		{&pb.ListTicketsRequest{PageSize: -1}, rule.BadField, "page_size"},
		{&pb.GetClosureRequest{Code: strings.Repeat("c", 256), AsOf: year(1901)}, "", ""},
		{&pb.GetClosureRequest{AsOf: year(9999)}, rule.TimeOutOfRange, "as_of"},
		{&pb.ListTimelineRequest{Name: "whistles/" + id}, "", ""},
		{&pb.ListTimelineRequest{}, rule.MissingField, "name"},
		{&pb.StreamHistoryRequest{}, "", ""},
		{&pb.EraseSubjectRequest{Name: "tickets/" + id, RequestId: "r"}, rule.MissingField, "order_ref"},
		{&pb.LoadRegistryRequest{}, "", ""},
		{&pb.LoadRegistryRequest{Version: "2026/1"}, rule.BadField, "version"},
	} {
		err := validate(c.m.ProtoReflect())
		var refusal *rule.Refusal
		switch {
		case c.reason == "" && err == nil:
		case !errors.As(err, &refusal), refusal.Reason != c.reason, refusal.Field != c.field:
			t.Errorf("%T: got %v; want %s %q", c.m, err, c.reason, c.field)
		}
	}
}

func TestUnreadableMessagesSayWhere(t *testing.T) {
	t.Parallel()
	c := newCodec()
	good, err := proto.Marshal(&pb.IntakeTicketsRequest{Sequence: 7, Report: &pb.ReportTicketRequest{
		RequestId: "r", AlsoAffects: []string{"a", "XX"}, Particulars: &pb.Particulars{Petitioner: &pb.Petitioner{Name: "YY"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, with string) []byte { return []byte(strings.Replace(string(good), old, with, 1)) }
	for _, test := range []struct {
		raw    []byte
		reason rule.Reason
		field  string
	}{
		{good, "", ""},
		{append([]byte{}, append(good, 0xfa, 0x7f, 2, 'h', 'i')...), "", ""}, // a field of a later release
		{replace("XX", "X\xff"), rule.InvalidUTF8, "report.also_affects[1]"},
		{replace("YY", "\xc3\x28"), rule.InvalidUTF8, "report.particulars.petitioner.name"},
		{good[:len(good)-1], rule.MalformedMessage, "report"},
		{[]byte("\xff\xff\xff"), rule.MalformedMessage, ""},
	} {
		m := new(pb.IntakeTicketsRequest)
		c.read(test.raw, m)
		err := c.faultOf(m.ProtoReflect())
		var refusal *rule.Refusal
		switch {
		case test.reason == "" && err == nil:
		case !errors.As(err, &refusal), refusal.Reason != test.reason, refusal.Field != test.field:
			t.Errorf("%q: got %v; want %s %q", test.raw, err, test.reason, test.field)
		case test.field != "" && m.Sequence != 7:
			t.Errorf("%q: the message's number is lost", test.raw)
		}
	}
}

func TestNobodyForgesAnUnreadableMessage(t *testing.T) {
	t.Parallel()
	c, other := newCodec(), newCodec()
	m := new(pb.GetTicketRequest)
	other.read([]byte("\xff"), m)
	if err := c.faultOf(m.ProtoReflect()); err != nil {
		t.Errorf("what another server marked counts here: %v", err)
	}
}

func BenchmarkValidate(b *testing.B) {
	for _, m := range []proto.Message{
		&pb.SignTicketRequest{Name: "tickets/" + id, RequestId: "9f8c2b1a-7a44-4a0e-8a39-1d8b0a3b5c11", Etag: `"12"`, OccurredAt: year(2026)},
		&pb.SubmitResultRequest{Name: "tickets/" + id, RequestId: "9f8c2b1a-7a44-4a0e-8a39-1d8b0a3b5c11", Result: 1,
			Particulars: &pb.Particulars{Reply: strings.Repeat("已经办理完毕。", 10)}},
		&pb.ReportTicketRequest{RequestId: "9f8c2b1a-7a44-4a0e-8a39-1d8b0a3b5c11", Channel: 1, Kind: 2, Area: "320211001001", Position: &pb.LonLat{Lon: 120, Lat: 31},
			Particulars: &pb.Particulars{Petitioner: &pb.Petitioner{Name: "张三", Phone: "13800138000"}, Title: "路灯不亮",
				Text: strings.Repeat("小区门口的路灯坏了三天。", 10), Place: "梁溪区人民路 1 号"}},
	} {
		b.Run(string(m.ProtoReflect().Descriptor().Name()), func(b *testing.B) {
			r := m.ProtoReflect()
			b.ReportAllocs()
			for b.Loop() {
				if err := validate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
