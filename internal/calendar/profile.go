package calendar

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// The grades of a matter, which are the columns of a profile.
const (
	G0      = "G0"      // 特急: danger to life or property
	G1      = "G1"      // 紧急: water, power, gas, heat
	G2      = "G2"      // 一般
	G3      = "G3"      // 疑难
	Consult = "CONSULT" // 咨询: a question that asks for no handling

	// AnyGrade is the one column of a timer that does not depend on a grade. It may be asked for only of such a timer.
	AnyGrade = "ALL"
)

var grades = [...]string{G0, G1, G2, G3, Consult}

// Timer is something that must happen within a limit. Its text is its key in a profile.
type Timer string

// The timers: what starts each, and what stops it.
const (
	// Accept runs from the report of a matter until it is accepted or declined.
	Accept Timer = "accept"
	// Dispatch runs from acceptance until the matter is dispatched.
	Dispatch Timer = "dispatch"
	// Sign runs from dispatch until the unit signs (签收); after that it is deemed to have signed.
	Sign Timer = "sign"
	// Contact runs from dispatch until the unit has contacted the petitioner (先行联系).
	Contact Timer = "contact"
	// ReturnWindow runs from dispatch; within it a unit may ask to return a matter (退单). No limit means no right to.
	ReturnWindow Timer = "return_window"
	// ReturnDecision runs from a request to return until it is decided.
	ReturnDecision Timer = "return_decision"
	// Ruling runs from the opening of an adjudication (会商裁定) until the ruling.
	Ruling Timer = "ruling"
	// Handle runs from the first dispatch of a round until a result is submitted (处置).
	Handle Timer = "handle"
	// Verify runs from the submission of a result until it is verified (核查).
	Verify Timer = "verify"
	// Callback runs from verification until the callback (回访) is settled, or first tried.
	Callback Timer = "callback"
	// Close runs until the matter is closed (结案). It starts at the due time of Handle, not at an event.
	Close Timer = "close"
	// Redo is Handle's limit from the second round on: from reopening (重办) until a result is submitted.
	Redo Timer = "redo"
	// SuspensionReview runs from the grant of a suspension (挂账) until it is renewed or ended. No limit: no suspension.
	SuspensionReview Timer = "suspension_review"
	// SuspensionGrace runs from a missed SuspensionReview until that is supervised.
	SuspensionGrace Timer = "suspension_grace"
	// Extension is the most by which one extension (延期) moves the handle limit, beside the limit itself.
	Extension Timer = "extension"
	// OverdueGrace runs from a passed Handle until the matter is listed (挂牌督办).
	OverdueGrace Timer = "overdue_grace"
	// SupervisionReply runs from an order (督办) until it is answered.
	SupervisionReply Timer = "supervision_reply"
	// RectificationPlan runs from a listing (挂牌督办) until its plan is there (整改方案).
	RectificationPlan Timer = "rectification_plan"
	// Clearing runs from a listing until it is cleared (销号), where nobody set another day.
	Clearing Timer = "clearing"
	// DeclineAppeal runs from a decline; within it a petitioner may appeal (申诉).
	DeclineAppeal Timer = "decline_appeal"
	// Appeal runs from closing; within it a petitioner may appeal (申诉).
	Appeal Timer = "appeal"
	// ExclusionRequest runs from the settled callback; within it a unit may ask for exclusion (剔除) from a rate.
	ExclusionRequest Timer = "exclusion_request"
	// WhistleSign runs from the issue of a whistle (吹哨) until a participant signs. Its column: WhistleGrade.
	WhistleSign Timer = "whistle_sign"
	// WhistleContact runs from the issue of a whistle until a participant contacts the street. Its column: WhistleGrade.
	WhistleContact Timer = "whistle_contact"
	// WhistleReportIn runs from the issue of a whistle until a participant reports in (报到). Its column: WhistleGrade.
	WhistleReportIn Timer = "whistle_report_in"
	// WhistleResolve runs from the issue of a whistle until the street confirms that its matter is done. Its column: WhistleGrade.
	WhistleResolve Timer = "whistle_resolve"
	// Admission runs from the application to bring an item into communities (准入) until it is decided.
	Admission Timer = "admission"
	// Seal runs from the end of an assessment period until it is sealed (封账).
	Seal Timer = "seal"
)

var timers = [...]Timer{
	Accept, Dispatch, Sign, Contact, ReturnWindow, ReturnDecision, Ruling, Handle, Verify, Callback, Close, Redo,
	SuspensionReview, SuspensionGrace, Extension, OverdueGrace, SupervisionReply, RectificationPlan, Clearing, DeclineAppeal, Appeal, ExclusionRequest, WhistleSign, WhistleContact, WhistleReportIn, WhistleResolve,
	Admission, Seal,
}

// since are the timers that profiles of former releases do not have. A profile without one has no limit there.
var since = [...]Timer{WhistleResolve}

// Timers are all timers that a profile has, in the order in which a matter meets them. The caller owns the slice.
func Timers() []Timer { return slices.Clone(timers[:]) }

// Grades are all grades, the most urgent first. The caller owns the slice.
func Grades() []string { return slices.Clone(grades[:]) }

// Profile (时限方案) states a limit for each timer and grade. It never changes and may be used by many at once. It comes
// from ReadProfile or DefaultProfile; the zero value has no timers, and says so.
type Profile struct {
	name, version string
	rows          map[Timer]row
}

type row struct {
	limits   [len(grades)]Limit
	ungraded bool
}

//go:embed profile.json
var builtInProfile []byte

var loadBuiltInProfile = sync.OnceValue(func() Profile {
	p, err := ReadProfile(builtInProfile)
	if err != nil {
		panic(fmt.Sprintf("profile.json: %v", err))
	}
	return p
})

// DefaultProfile is the built-in profile. It handles general matters in 5 working days and hard ones in 15.
func DefaultProfile() Profile { return loadBuiltInProfile() }

// FormerDefaults are what DefaultProfile was in former releases, as events name it.
func FormerDefaults() []Profile {
	p := DefaultProfile()
	p.version, p.rows = "2", maps.Clone(p.rows)
	delete(p.rows, WhistleResolve)
	return []Profile{p}
}

// ReadProfile reads a profile in JSON:
//
//	{"name": "…", "version": "…", "timers": {"accept": {"G0": "10 min", …, "CONSULT": "4 WH"}, "seal": {"ALL": "5 WD"}, …}}
//
// Each timer must be there, but for those that former releases did not have, with each of the five grades, or with "ALL" alone if it does not depend on the grade; limits
// are written as ParseLimit reads them, "none" where there is none. 0 is a limit only in days, where it means the same
// day. Handle and Close must have limits. The error is a *FieldError that names the field; anything unknown is refused.
func ReadProfile(raw []byte) (Profile, error) {
	var file struct {
		Name    string                       `json:"name"`
		Version string                       `json:"version"`
		Timers  map[Timer]map[string]*string `json:"timers"`
	}
	if err := decodeStrictly(raw, &file); err != nil {
		return Profile{}, err
	}
	if err := checkName("name", file.Name); err != nil {
		return Profile{}, err
	}
	if err := checkName("version", file.Version); err != nil {
		return Profile{}, err
	}
	// In order, so that of several mistakes always the same one is named.
	for _, t := range slices.Sorted(maps.Keys(file.Timers)) {
		if !slices.Contains(timers[:], t) {
			return Profile{}, &FieldError{"timers", string(t), "not a timer"}
		}
	}
	p := Profile{name: file.Name, version: file.Version, rows: make(map[Timer]row, len(timers))}
	for _, t := range timers {
		cells, ok := file.Timers[t]
		if !ok && slices.Contains(since[:], t) {
			continue
		}
		if !ok {
			return Profile{}, &FieldError{"timers." + string(t), "", "missing"}
		}
		r, err := readRow(t, cells)
		if err != nil {
			return Profile{}, err
		}
		p.rows[t] = r
	}
	return p, nil
}

func readRow(t Timer, cells map[string]*string) (row, error) {
	field := "timers." + string(t)
	var r row
	_, r.ungraded = cells[AnyGrade]
	for _, g := range slices.Sorted(maps.Keys(cells)) {
		if r.ungraded && g != AnyGrade {
			return row{}, &FieldError{field, g, "stands beside " + AnyGrade}
		}
		if !r.ungraded && !slices.Contains(grades[:], g) {
			return row{}, &FieldError{field, g, "not a grade"}
		}
	}
	for i, g := range grades {
		if r.ungraded {
			g = AnyGrade
		}
		field := field + "." + g
		text := cells[g]
		if text == nil {
			return row{}, &FieldError{field, "", `missing; "none" stands for no limit`}
		}
		l, err := ParseLimit(*text)
		if err != nil {
			return row{}, &FieldError{field, *text, "not a limit"}
		}
		if l.None() && (t == Handle || t == Close) {
			return row{}, &FieldError{field, *text, "must have a limit"}
		}
		if !l.None() && l.N == 0 && l.Unit != NaturalDay && l.Unit != WorkingDay {
			return row{}, &FieldError{field, *text, "only days may be 0"}
		}
		r.limits[i] = l
	}
	return r, nil
}

// Name names the profile among others, such as "default".
func (p Profile) Name() string { return p.name }

// Version names this state of the profile for ever: events carry it with the name.
func (p Profile) Version() string { return p.version }

// String names the profile and its state as events do: "default@2".
func (p Profile) String() string { return p.name + "@" + p.version }

// Equal reports whether two profiles have the same name, version and limits.
func (p Profile) Equal(q Profile) bool {
	return p.name == q.name && p.version == q.version && maps.Equal(p.rows, q.rows)
}

// JSON is the profile as ReadProfile reads it, one timer a line.
func (p Profile) JSON() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{\n  \"name\": %q,\n  \"version\": %q,\n  \"timers\": {\n", p.name, p.version)
	var has []Timer
	for _, t := range timers {
		if _, ok := p.rows[t]; ok {
			has = append(has, t)
		}
	}
	for i, t := range has {
		r := p.rows[t]
		fmt.Fprintf(&b, "    %q: {", t)
		if r.ungraded {
			fmt.Fprintf(&b, "%q: %q", AnyGrade, r.limits[0])
		} else {
			for j, g := range grades {
				if j > 0 {
					b.WriteString(", ")
				}
				fmt.Fprintf(&b, "%q: %q", g, r.limits[j])
			}
		}
		if b.WriteString("}"); i < len(has)-1 {
			b.WriteString(",")
		}
		b.WriteString("\n")
	}
	b.WriteString("  }\n}\n")
	return b.String()
}

// Limit is the limit of a timer for a grade. The zero Limit means that there is none: the right does not exist, or
// nothing is due. The error is a *FieldError: an unknown timer, or an empty or unknown grade.
func (p Profile) Limit(t Timer, grade string) (Limit, error) {
	r, ok := p.rows[t]
	if !ok && (len(p.rows) == 0 || !slices.Contains(since[:], t)) {
		return Limit{}, &FieldError{"timer", string(t), "not a timer of the profile"}
	}
	if r.ungraded && grade == AnyGrade {
		return r.limits[0], nil
	}
	for i, g := range grades {
		if g == grade {
			return r.limits[i], nil
		}
	}
	return Limit{}, &FieldError{"grade", grade, "not one of " + strings.Join(grades[:], ", ")}
}

// The kinds of whistles.
const (
	WhistleRoutine     = "ROUTINE"     // 日常哨
	WhistleEnforcement = "ENFORCEMENT" // 执法哨
	WhistleTough       = "TOUGH"       // 攻坚哨
	WhistleEmergency   = "EMERGENCY"   // 应急哨
)

// WhistleGrade is the column of a profile in which the limits of a whistle stand. By its kind: G0 for an emergency, G2
// for routine and enforcement, G3 for a tough one. The ticket it was blown for moves it to G0 or G1 if that is
// more urgent. The grade is empty for a whistle without a ticket. The error is a *FieldError: an unknown kind or grade.
func WhistleGrade(kind, ticketGrade string) (string, error) {
	var column string
	switch kind {
	case WhistleEmergency:
		column = G0
	case WhistleRoutine, WhistleEnforcement:
		column = G2
	case WhistleTough:
		column = G3
	default:
		return "", &FieldError{"kind", kind, "not a kind of whistle"}
	}
	switch {
	case ticketGrade == "":
		return column, nil
	case !slices.Contains(grades[:], ticketGrade):
		return "", &FieldError{"grade", ticketGrade, "not one of " + strings.Join(grades[:], ", ")}
	case ticketGrade == G0 || ticketGrade == G1:
		return min(column, ticketGrade), nil
	}
	return column, nil
}
