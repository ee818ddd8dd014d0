package rpc

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/suggest"
)

// suggesting is a city whose server suggests.
func suggesting(t *testing.T) (*dispatchtest.City, pb.TicketServiceClient) {
	t.Helper()
	city, c := suggests(t)
	return city, pb.NewTicketServiceClient(serve(t, c, c.register))
}

// suggests is a city with what its server is to be.
func suggests(t *testing.T) (*dispatchtest.City, Config) {
	t.Helper()
	city := dispatchtest.Open(t)
	x, err := suggest.New(city.Dispatcher, suggest.Options{OnTrouble: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- x.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return city, Config{DevActor: true, Dispatcher: city.Dispatcher, Suggest: x}
}

func TestADispatcherIsToldWhatWouldBeLookedUp(t *testing.T) {
	t.Parallel()
	city, client := suggesting(t)
	first, second := city.Report(t, dispatchtest.Community), city.Report(t, dispatchtest.Community)
	head, err := city.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx := acting(t.Context(), dispatchtest.CityCentre, "DISPATCHER")
	got, err := client.SuggestTriage(ctx, &pb.SuggestTriageRequest{Name: first, MinConsistencyToken: Token(head)})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Duplicates) != 1 || got.Duplicates[0].Name != second || !slices.Contains(got.Duplicates[0].Reasons, "similar_text") ||
		got.Duplicates[0].No == "" || got.Duplicates[0].State != pb.TicketState_TICKET_STATE_REPORTED {
		t.Errorf("got %v, want %s", got.Duplicates, second)
	}
	if len(got.Categories) == 0 || got.Categories[0].Category != "0302" {
		t.Errorf("got %v, want 0302", got.Categories)
	}
	if got.Leads[0].Lead != dispatchtest.District+"-SZ" || got.Leads[0].BasisRule != 4 || got.CatalogueVersion != "wuxi-1" {
		t.Errorf("got %v by %s", got.Leads, got.CatalogueVersion)
	}
	// A matter that is being taken down, by somebody nobody knows yet.
	phone := "13700000000"
	q := &pb.SuggestTriageRequest{
		Area: dispatchtest.Community, MinConsistencyToken: Token(head),
		Particulars: &pb.Particulars{Title: "路灯坏了", Text: "小区门口路灯坏了", Petitioner: &pb.Petitioner{Name: "李四", Phone: phone}},
	}
	if got, err = client.SuggestTriage(ctx, q); err != nil || len(got.Duplicates) != 2 {
		t.Errorf("got %v, %v, want both tickets", got.GetDuplicates(), err)
	}
	if _, known, err := city.Keys.Find(t.Context(), "phone:"+phone); err != nil || known {
		t.Errorf("got %t, %v: what was asked made somebody known", known, err)
	}
	if now, err := city.Store.Head(t.Context()); err != nil || now != head {
		t.Errorf("got %d, %v, want nothing recorded after %d", now, err, head)
	}
}

func TestSuggestionsTellNobodyOfWhatTheyMayNotSee(t *testing.T) {
	t.Parallel()
	city, client := suggesting(t)
	own, others := city.Report(t, dispatchtest.Street), city.Report(t, dispatchtest.OtherStreet)
	ctx := acting(t.Context(), dispatchtest.OtherDistrict, "DISPATCHER")
	words := &pb.Particulars{Title: "路灯不亮", Text: "小区门口路灯三天不亮"}
	got, err := client.SuggestTriage(ctx, &pb.SuggestTriageRequest{Particulars: words})
	if err != nil || len(got.Duplicates) != 1 || got.Duplicates[0].Name != others {
		t.Errorf("got %v, %v, want %s and not %s", got.GetDuplicates(), err, others, own)
	}
	if _, err := client.SuggestTriage(ctx, &pb.SuggestTriageRequest{Name: own}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v, want to be refused a ticket of another district", err)
	}
}

func TestSuggestionsForAHiddenTicketDoNotTellWhoRaisedIt(t *testing.T) {
	t.Parallel()
	city, client := suggesting(t)
	report := func(kind pb.MatterKind, confidentiality pb.Confidentiality, asked bool) string {
		return city.Do(t, dispatchtest.Hotline, &pb.ReportTicketRequest{
			RequestId: city.RequestID(), Channel: pb.Channel_CHANNEL_HOTLINE, Kind: kind, Area: dispatchtest.Community, Category: "0302",
			Confidentiality: confidentiality,
			Particulars: &pb.Particulars{
				Title: "路灯不亮", Text: "小区门口", Place: "春笋中路", Cause: "不明", Course: "今天",
				Petitioner: &pb.Petitioner{Name: "张三丰", Phone: "13812345678", Confidential: asked},
			},
		})
	}
	help, hidden := pb.MatterKind_MATTER_KIND_HELP, pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
	open := report(help, 0, false)
	ctx := acting(t.Context(), dispatchtest.CityCentre, "DISPATCHER")
	for _, c := range []struct {
		what, name string
		person     bool
	}{
		{"an open one", report(help, 0, false), true},
		{"a confidential one", report(help, hidden, false), false},
		{"a tip-off", report(pb.MatterKind_MATTER_KIND_TIP_OFF, 0, false), false},
		{"one in confidence", report(help, 0, true), false},
	} {
		head, err := city.Store.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.SuggestTriage(ctx, &pb.SuggestTriageRequest{Name: c.name, MinConsistencyToken: Token(head)})
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		found := slices.ContainsFunc(got.Duplicates, func(d *pb.Duplicate) bool { return d.Name == open })
		person := slices.ContainsFunc(got.Duplicates, func(d *pb.Duplicate) bool { return slices.Contains(d.Reasons, "same_person") })
		if !found || person != c.person {
			t.Errorf("%s: got %v, want it told whose it is: %t", c.what, got.Duplicates, c.person)
		}
	}
}

func TestWhatCannotBeSuggestedIsRefused(t *testing.T) {
	t.Parallel()
	city, of := suggests(t)
	client := pb.NewTicketServiceClient(serveWithin(of))
	name := city.Report(t, dispatchtest.Street)
	head, err := city.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, c := range []struct {
		what, role string
		ctx        context.Context
		q          *pb.SuggestTriageRequest
		code       codes.Code
		field      string
	}{
		{"a clerk", "STREET_CLERK", t.Context(), &pb.SuggestTriageRequest{Name: name}, codes.PermissionDenied, ""},
		{"an auditor", "AUDITOR", t.Context(), &pb.SuggestTriageRequest{Name: name}, codes.PermissionDenied, ""},
		{"no such area", "AGENT", t.Context(), &pb.SuggestTriageRequest{Area: "1"}, codes.InvalidArgument, "area"},
		{"no such category", "AGENT", t.Context(), &pb.SuggestTriageRequest{Category: "1"}, codes.InvalidArgument, "category"},
		{"both", "AGENT", t.Context(), &pb.SuggestTriageRequest{Name: name, Category: "0302"}, codes.InvalidArgument, "category"},
		{"a malformed name", "AGENT", t.Context(), &pb.SuggestTriageRequest{Name: "x"}, codes.InvalidArgument, "name"},
		{"what is not recorded yet", "AGENT", short, &pb.SuggestTriageRequest{MinConsistencyToken: Token(head + 100)}, codes.Unavailable, "min_consistency_token"},
	} {
		_, err := client.SuggestTriage(acting(c.ctx, dispatchtest.CityCentre, c.role), c.q)
		if info, _ := details(t, err, c.code); info.Metadata["field"] != c.field {
			t.Errorf("%s: got %v, want %q to be at fault", c.what, err, c.field)
		}
	}
	other, conn, _ := openCity(t)
	_, err = pb.NewTicketServiceClient(conn).SuggestTriage(acting(t.Context(), dispatchtest.CityCentre, "AGENT"), &pb.SuggestTriageRequest{Name: other.Report(t, "")})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v, want a server without suggestions to say so", err)
	}
}
