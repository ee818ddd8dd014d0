package rpc

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
)

func TestCalendarsAndProfilesAreLoadedAndRead(t *testing.T) {
	t.Parallel()
	city, conn, _ := openCity(t)
	client := pb.NewRegistryServiceClient(conn)
	auditor, agent := acting(t.Context(), dispatchtest.CityCentre, "AUDITOR"), acting(t.Context(), dispatchtest.CityCentre, "AGENT")

	year := &pb.LoadCalendarYearRequest{RequestId: "1", Year: 2027, Off: []string{"2027-01-01"}}
	loaded, err := client.LoadCalendarYear(auditor, year)
	if err != nil || loaded.Version == calendar.Default().Version() || loaded.ConsistencyToken == "" {
		t.Fatalf("got %v, %v", loaded, err)
	}
	again, err := client.LoadCalendarYear(auditor, year)
	if err != nil || !proto.Equal(loaded, again) {
		t.Errorf("the same request: got %v, %v, want %v", again, err, loaded)
	}
	got, err := client.GetCalendar(agent, &pb.GetCalendarRequest{MinConsistencyToken: loaded.ConsistencyToken})
	if err != nil || got.Version != loaded.Version || got.Zone != "Asia/Shanghai" || len(got.Windows) != 2 {
		t.Fatalf("got %v, %v", got, err)
	}
	if last := got.Years[len(got.Years)-1]; last.Year != 2027 || len(last.Off) != 1 {
		t.Errorf("got %v", last)
	}

	content := `{"name": "none"}`
	_, err = client.LoadProfile(auditor, &pb.LoadProfileRequest{RequestId: "2", Content: content})
	if info, _ := details(t, err, codes.InvalidArgument); info.Reason != "PROFILE_INVALID" || info.Metadata["field"] != "content" {
		t.Errorf("got %v", info)
	}
	_, err = client.LoadCalendarYear(auditor, &pb.LoadCalendarYearRequest{RequestId: "3", Year: 2028, Off: []string{"2028-01-01"}})
	if info, _ := details(t, err, codes.InvalidArgument); info.Reason != "CALENDAR_INVALID" || info.Metadata["field"] != "off[0]" {
		t.Errorf("got %v", info)
	}
	for _, call := range []func() error{
		func() error { _, err := client.LoadCalendarYear(agent, year); return err },
		func() error {
			_, err := client.LoadProfile(agent, &pb.LoadProfileRequest{RequestId: "4", Content: content})
			return err
		},
	} {
		if info, _ := details(t, call(), codes.PermissionDenied); info.Reason != "ROLE_NOT_ALLOWED" {
			t.Errorf("got %v", info)
		}
	}

	standard, err := client.GetProfile(agent, &pb.GetProfileRequest{})
	if err != nil || standard.Name+"@"+standard.Version != calendar.DefaultProfile().String() {
		t.Fatalf("got %v, %v", standard, err)
	}
	profile, err := client.LoadProfile(auditor, &pb.LoadProfileRequest{RequestId: "5", Content: standard.Content})
	if err != nil || profile.Name != standard.Name || profile.Version != standard.Version {
		t.Errorf("got %v, %v", profile, err)
	}
	if city.Calendar().Version() != loaded.Version {
		t.Errorf("got %s in force", city.Calendar().Version())
	}
}

// timeText is an instant by the city's clocks.
func timeText(t *testing.T, s interface{ AsTime() time.Time }) string {
	t.Helper()
	return s.AsTime().In(dispatchtest.Start.Location()).Format("2006-01-02 15:04:05")
}

func TestADeadlineIsExplainedWithEveryDayThatWasCounted(t *testing.T) {
	t.Parallel()
	city, conn, _ := openCity(t)
	client := pb.NewTicketServiceClient(conn)
	to := func(text string) {
		at, err := time.ParseInLocation("2006-01-02 15:04:05", text, dispatchtest.Start.Location())
		if err != nil {
			t.Fatal(err)
		}
		city.Clock.Set(at)
	}
	// The winter pipe job: five working days and five more, stopped after four, and resumed.
	to("2025-09-15 09:00:00")
	name := city.Report(t, dispatchtest.Community)
	city.ToHandling(t, name, dispatchtest.DistrictUrban)
	clerk, centre := dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK), dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR)
	told := &pb.Particulars{Text: "x", Reply: "y"}
	city.Do(t, clerk, &pb.RequestExtensionRequest{Name: name, RequestId: "1", Kind: pb.ExtensionKind_EXTENSION_KIND_ENGINEERING, WorkingDays: 5, Particulars: told})
	city.Do(t, centre, &pb.DecideExtensionRequest{Name: name, RequestId: "2", Granted: true})
	to("2025-09-22 10:00:00")
	review := city.Clock.Now().AddDate(0, 0, 70)
	suspend := &pb.RequestSuspensionRequest{Name: name, RequestId: "3", Reason: pb.SuspensionReason_SUSPENSION_REASON_ENGINEERING, Particulars: told}
	suspend.ReviewAt = timestamppb.New(review)
	city.Do(t, clerk, suspend)
	city.Do(t, centre, &pb.DecideSuspensionRequest{Name: name, RequestId: "4", Granted: true})

	ask := &pb.ExplainDeadlineRequest{Name: name}
	stopped, err := client.ExplainDeadline(acting(t.Context(), dispatchtest.CityCentre, "SUPERVISOR"), ask)
	if err != nil || stopped.DueAt != nil || len(stopped.Parts) != 3 || stopped.Parts[2].Cause != "suspension" {
		t.Fatalf("while the clock stands: got %v, %v", stopped, err)
	}
	to("2025-12-01 09:00:00")
	city.Do(t, clerk, &pb.ResumeTicketRequest{Name: name, RequestId: "5"})
	got, err := client.ExplainDeadline(acting(t.Context(), dispatchtest.CityCentre, "SUPERVISOR"), ask)
	if err != nil || len(got.Parts) != 4 {
		t.Fatalf("got %v, %v", got, err)
	}
	if due := timeText(t, got.DueAt); due != "2025-12-09 23:59:59" || got.Provisional || got.ConsistencyToken == "" {
		t.Errorf("got %s, provisional %t, token %q", due, got.Provisional, got.ConsistencyToken)
	}
	for i, want := range []struct {
		cause, limit, start, due string
		counted                  int
	}{
		{"limit", "5 WD", "2025-09-15 09:00:00", "2025-09-22 23:59:59", 5},
		{"extension", "5 WD", "2025-09-22 23:59:59", "2025-09-28 23:59:59", 5},
		{"suspension", "4 WD", "2025-09-15 09:00:00", "2025-09-22 10:00:00", 4},
		{"resumption", "6 WD", "2025-12-01 09:00:00", "2025-12-09 23:59:59", 6},
	} {
		p := got.Parts[i]
		counted := 0
		for _, s := range p.Steps {
			if s.Counted {
				counted++
			}
		}
		if p.Cause != want.cause || p.Limit != want.limit || timeText(t, p.StartAt) != want.start || timeText(t, p.DueAt) != want.due || counted != want.counted {
			t.Errorf("part %d: got %v, want %v", i+1, p, want)
		}
		if p.CalendarVersion != calendar.Default().Version() || p.ProfileVersion != calendar.DefaultProfile().String() {
			t.Errorf("part %d: got the versions %s, %s", i+1, p.CalendarVersion, p.ProfileVersion)
		}
	}

	closing := &pb.ExplainDeadlineRequest{Name: name, Timer: pb.TicketTimer_TICKET_TIMER_VERIFY}
	if met, err := client.ExplainDeadline(acting(t.Context(), dispatchtest.CityCentre, "AUDITOR"), closing); err != nil || met.DueAt != nil || len(met.Parts) != 0 {
		t.Errorf("a limit that no longer runs: got %v, %v", met, err)
	}
	_, err = client.ExplainDeadline(acting(t.Context(), dispatchtest.CityCentre, "AUDITOR"), &pb.ExplainDeadlineRequest{Name: name, Timer: pb.TicketTimer_TICKET_TIMER_CLEARING})
	if info, _ := details(t, err, codes.InvalidArgument); info.Metadata["field"] != "timer" {
		t.Errorf("got %v", info)
	}
	_, err = client.ExplainDeadline(acting(metadata.NewOutgoingContext(t.Context(), metadata.MD{}), dispatchtest.OtherDistrict, "SUPERVISOR"), ask)
	if info, _ := details(t, err, codes.PermissionDenied); info.Reason != "OUT_OF_SCOPE" {
		t.Errorf("got %v", info)
	}
}
