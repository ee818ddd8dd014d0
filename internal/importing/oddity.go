package importing

import (
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// Kinds of oddity of a record. They are counted only where the mapping has the column they speak of. A text of spaces alone
// counts as missing, and is imported as it is. LevelMissing is followed by the level's name.
const (
	ClosedMissing        = "closed_missing" // still open
	ClosedBeforeReported = "closed_before_reported"
	ClosedInSameSecond   = "closed_in_same_second" // as reported
	ClosedWithoutStatus  = "closed_without_status" // a closing time, but no status
	ClosedAgainstStatus  = "closed_against_status" // a closing time, but not the status of closed records
	OpenAgainstStatus    = "open_against_status"   // the status of closed records, but no closing time
	ReportedAtMidnight   = "reported_at_midnight"  // of the mapping's zone: the source may have dates only
	DueMissing           = "due_missing"
	DueBeforeReported    = "due_before_reported"
	StatusMissing        = "status_missing"
	CategoryMissing      = "category_missing"
	SubcategoryMissing   = "subcategory_missing"
	AgencyMissing        = "agency_missing"
	ChannelMissing       = "channel_missing" // the default is used
	ChannelUnknown       = "channel_unknown" // the mapping has no channel for it; the default is used
	OnTimeMissing        = "on_time_missing"
	OnTimeUnknown        = "on_time_unknown"      // neither yes nor no
	OnTimeContradicted   = "on_time_contradicted" // the flag of a closed record does not follow from its times
	PositionMissing      = "position_missing"
	PositionUnreadable   = "position_unreadable" // not two numbers of degrees; imported without
	PhoneUnreadable      = "phone_unreadable"    // kept in the note
	IDRepeated           = "id_repeated"         // not the first row with its id
	LevelMissing         = "level_missing:"      // a dimension, or a step of the path
	PathMissing          = "path_missing"        // no step of the path is known
)

// kinds are all but LevelMissing, in the order that reports have.
var kinds = []string{
	ClosedMissing, ClosedBeforeReported, ClosedInSameSecond, ClosedWithoutStatus, ClosedAgainstStatus, OpenAgainstStatus,
	ReportedAtMidnight, DueMissing, DueBeforeReported, StatusMissing, CategoryMissing, SubcategoryMissing, AgencyMissing,
	ChannelMissing, ChannelUnknown, OnTimeMissing, OnTimeUnknown, OnTimeContradicted, PositionMissing, PositionUnreadable,
	PhoneUnreadable, IDRepeated, PathMissing,
}

// Kinds are all kinds of oddity that records of the mapping can have.
func (m *Mapping) Kinds() []string {
	all := append([]string(nil), kinds...)
	for _, l := range m.levels {
		all = append(all, LevelMissing+l.Name)
	}
	return all
}

// odd notes what is odd about a record's times and status, and about texts that are missing.
func (b *binding) odd(req *pb.ImportRecordRequest, reported, closed, due time.Time, fields []string) {
	note := func(kind string) { req.Oddities = append(req.Oddities, kind) }
	isClosed, hasDue := !closed.IsZero(), !due.IsZero()
	switch {
	case b.closed < 0:
	case !isClosed:
		note(ClosedMissing)
	case closed.Before(reported):
		note(ClosedBeforeReported)
	case closed.Unix() == reported.Unix():
		note(ClosedInSameSecond)
	}
	if b.status >= 0 {
		switch done := b.m.closedStatus[req.Status]; {
		case blank(req.Status):
			note(StatusMissing)
			if isClosed {
				note(ClosedWithoutStatus)
			}
		case b.m.closedStatus == nil || b.closed < 0:
		case isClosed && !done:
			note(ClosedAgainstStatus)
		case !isClosed && done:
			note(OpenAgainstStatus)
		}
	}
	if local := reported.In(b.m.zone); local.Hour() == 0 && local.Minute() == 0 && local.Second() == 0 && local.Nanosecond() == 0 {
		note(ReportedAtMidnight)
	}
	switch {
	case b.due < 0:
	case !hasDue:
		note(DueMissing)
	case due.Before(reported):
		note(DueBeforeReported)
	}
	for _, text := range []struct {
		at   int
		is   string
		kind string
	}{{b.category, req.Category, CategoryMissing}, {b.subcategory, req.Subcategory, SubcategoryMissing}, {b.agency, req.Agency, AgencyMissing}} {
		if text.at >= 0 && blank(text.is) {
			note(text.kind)
		}
	}
	if b.onTime >= 0 {
		flag := fields[b.onTime]
		yes, no := b.m.onTimeYes[flag], b.m.onTimeNo[flag]
		switch {
		case blank(flag):
			note(OnTimeMissing)
		case !yes && !no:
			note(OnTimeUnknown)
		// Whether an open record is late depends on when its source was asked.
		case isClosed && yes != (!hasDue || !closed.After(due)):
			note(OnTimeContradicted)
		}
	}
}
