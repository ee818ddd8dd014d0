package ticket

import (
	"slices"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// State is a ticket, folded from its events. It is a value: copies may be changed apart, but what its slices and pointers
// lead to is shared and never changed.
type State struct {
	rule.Life[pb.TicketState]

	Source          string
	SourceRef       string
	Channel         pb.Channel
	Kind            pb.MatterKind
	Category        string
	Grade           pb.Grade
	Confidentiality pb.Confidentiality
	Path            []*pb.AreaNode
	AlsoAffects     []string
	Position        *pb.LonLat
	Elements        []pb.Element
	Anonymous       bool
	CallbackWanted  bool
	Subjects        []string   // all whose keys seal something said about the ticket, the first first
	Reported        *pb.Sealed // the particulars of the report
	Accepted        *pb.Sealed // the particulars that the acceptance added
	Replied         *pb.Sealed // the particulars of the latest answer, result or decline

	Holder       string   // who has it: the lead, or before dispatch the unit of its area
	HolderPath   []string // as last told; nil while no event told it
	Lead         string
	LeadPath     []string
	Co           []string
	Fallback     string
	ProposedLead string
	ProposedCo   []string
	ComplainedOf string

	Round  uint32
	Hop    uint32 // dispatches in this round
	Rework uint32 // failed verifications in this round

	Limits Limits

	// LimitsProfile is the profile under which limits were set last, as events name it.
	LimitsProfile string

	ReportedAt   time.Time
	Reporter     *pb.Actor // who reported it; nil of an imported record
	LearntAt     time.Time // when the report was recorded: its acceptance is due from then
	AcceptedAt   time.Time // T0
	ReturnedAt   time.Time // the last approved return, from which the next dispatch is counted
	DispatchedAt time.Time // of the current hop, or the reopening
	ContactStart time.Time // where the contact limit runs from, that no step between levels moves
	HandleStart  time.Time // where the round's handle limit runs from
	SubmittedAt  time.Time
	VerifiedAt   time.Time
	Verifier     *pb.Actor // who last found a result as told; nil if nobody did
	ClosedAt     time.Time

	Contacted       bool // in this round
	FailedContacts  int
	Waived          []pb.Requirement
	Result          pb.ResultCode
	Verified        bool
	CallbackSettled bool
	SettledAt       time.Time // when it last was
	Unreachable     bool
	FailedCallbacks []time.Time
	Solved          pb.Solved
	Satisfaction    uint32
	CloseKind       pb.CloseKind
	DeclineReason   pb.DeclineReason
	DeclineProposal *pb.Actor // who proposed; nil if nothing is proposed
	ProposedReason  pb.DeclineReason
	VoidProposal    *pb.Actor
	Whistles        []Whistle
	WhistleAsked    *pb.WhistleAsked // the street was asked for one and has not answered

	DeclineAppealed bool
	HandedOver      []pb.EmergencyLine
	DispatchedBy    *pb.Actor // who gave the last dispatch
	Dispatchers     []string  // the persons who dispatched or delegated it, in any round, each once

	MergedInto string       // the primary's id
	Duplicates []string     // ids
	Attached   []Attachment // how each of them became one
	Before     *Shelved     // where a merged ticket was

	NonReturnable bool
	Returns       uint32   // requests in this round
	ReturnAsked   bool     // in this hop
	Led           []string // units that led in this round, in order, each once
	RuledOut      []string // of these, those that a ruling released
	Parties       []string // of the adjudication that is open

	CoTasks []CoTask
	Moves   []Move // between levels, in this round
	// Deliveries are what units got that was not ordinary: another task, or under an admission.
	Deliveries []Delivery
	// Escalated says that the last of these led to the state the ticket is in, but for a merge that was undone.
	Escalated bool
	Seen      bool        // the lead recorded progress since it got the ticket
	Late      []LateFacts // that were admitted in this round, one a unit

	HandleLimit string                  // what the handle limit was computed with, as in a profile; empty if no event told
	RoundLimit  string                  // what the round's handle limit was computed with before anything stopped its clock; empty if no event told
	ExtendedBy  []uint32                // working days of the extensions granted in this round; 0 for those that are part of HandleLimit
	Extension   *pb.ExtensionRequested  // asked for and not decided
	Suspension  *pb.SuspensionRequested // asked for and not decided
	Suspended   pb.SuspensionReason     // while it is
	Remaining   string                  // of the handle limit, while it is suspended
	// StoppedHandleBy, StoppedSegmentBy and StoppedContactBy are what these limits were when the clock stopped, while it is suspended.
	StoppedHandleBy, StoppedSegmentBy, StoppedContactBy time.Time

	Supervision       uint32 // 0 to 4
	SupervisionIssuer string // the unit; empty: this system
	SupervisionLevel  string // the issuer's level when it ordered, by its name; empty if it had none
	Listed            bool   // at level 3 and not cleared
	ListingDone       bool   // the lead says that its plan was carried out
	PlanGiven         bool
	Urged             uint32
	AutoReopened      uint32 // how often this system opened it again

	Exclusion       *pb.ExclusionRequested // asked for and not decided
	Excluded        pb.ExclusionCode
	ExcludedMetrics []string
	ExclusionDenied []pb.ExclusionCode
	Photos          [][]byte // SHA-256 of all attachments so far
	Correction      *pb.ArchiveCorrectionProposed
	CorrectionBy    *pb.Actor

	Ratings         []Rating    // of leads, in any round
	JointlyReviewed bool        // in this round
	LiftedFrom      string      // the unit of the child wall that its post was lifted from; empty for any other ticket
	SolvedOnWall    bool        // a grid worker solved it on the grid's own wall
	SampledOut      bool        // and it was not drawn for verification, in this round
	SecretaryOwned  bool        // a secretary leads it personally
	Echo            pb.EchoKind // the latest that the wall was told
	ResultEcho      uint64      // the event that told the wall of the result that stands in this round; 0 if none did

	fired [timers]int64 // the limit, in Unix microseconds, for which each timer last fired; another limit is another timer

	Imported *pb.RecordImported // for a record of another system
}

// Limits are the instants by which something is to be done; zero where nothing is due.
type Limits struct {
	AcceptBy, DispatchBy, SignBy, ContactBy, ReturnBy, HandleBy, VerifyBy, CallbackBy, CloseBy, SegmentBy                   time.Time
	DecideReturnBy, RulingBy, ReviewAt, SuspensionOverdueAt, LongOverdueAt, AppealBy, ExclusionBy, ReplyBy, PlanBy, ClearBy time.Time
	// Provisional says that one of them was computed with a calendar year that was not loaded.
	Provisional bool

	guessed uint32 // which of them, by their place in all
	older   uint32 // which of them were set under another profile than LimitsProfile, or for another grade than the ticket has now
}

// all are the limits, each in its place.
func (l *Limits) all() [20]time.Time {
	return [...]time.Time{l.AcceptBy, l.DispatchBy, l.SignBy, l.ContactBy, l.ReturnBy, l.HandleBy, l.VerifyBy, l.CallbackBy, l.CloseBy, l.SegmentBy,
		l.DecideReturnBy, l.RulingBy, l.ReviewAt, l.SuspensionOverdueAt, l.LongOverdueAt, l.AppealBy, l.ExclusionBy, l.ReplyBy, l.PlanBy, l.ClearBy}
}

// handlePlace is the place of HandleBy in all.
const handlePlace = 5

// isGuess says whether the limit at a place is provisional.
func (l *Limits) isGuess(place int) bool { return l.guessed&(1<<place) != 0 }

// follow notes which limits are provisional after an event: of those it set all, if it says so of one; those it left are what they
// were. It says whether the event set any.
func (l *Limits) follow(before Limits, provisional bool) (set bool) {
	l.guessed, l.older = 0, 0
	was := before.all()
	for i, by := range l.all() {
		switch {
		case by.IsZero():
		case by.Equal(was[i]):
			l.guessed |= before.guessed & (1 << i)
			l.older |= before.older & (1 << i)
		default:
			if set = true; provisional {
				l.guessed |= 1 << i
			}
		}
	}
	l.Provisional = l.guessed != 0
	return set
}

// outdate notes that the limits an event left belong to a former profile or grade.
func (l *Limits) outdate(before Limits) {
	was := before.all()
	for i, by := range l.all() {
		if !by.IsZero() && by.Equal(was[i]) {
			l.older |= 1 << i
		}
	}
}

// Shelved is what a merged ticket was before.
type Shelved struct {
	State  pb.TicketState
	Limits Limits
}

// CoTask is a co-handler's bounded task.
type CoTask struct {
	Unit      string
	Mandatory bool
	State     pb.CoTaskState
	SubmitBy  time.Time
}

// Move is a step from the unit of one level to that of another.
type Move struct {
	From, To string
	Refused  bool // the higher level sent it back
}

// Whistle is a whistle that was blown for the ticket.
type Whistle struct {
	ID      string
	Outcome pb.WhistleState // UNSPECIFIED while it is open
	// Participants are the units it summons.
	Participants []string
}

// dispatchFrom is where the limit of the next dispatch is counted from.
func (s *State) dispatchFrom() time.Time {
	if !s.ReturnedAt.IsZero() {
		return s.ReturnedAt
	}
	if s.OnWall() { // accepted as of its post, which nobody could dispatch
		return s.LearntAt
	}
	return s.AcceptedAt
}

// Open says whether the ticket still needs something done.
func (s *State) Open() bool { return open(s.State) }

func open(s pb.TicketState) bool {
	switch s {
	case pb.TicketState_TICKET_STATE_UNSPECIFIED, pb.TicketState_TICKET_STATE_CLOSED, pb.TicketState_TICKET_STATE_DECLINED,
		pb.TicketState_TICKET_STATE_MERGED, pb.TicketState_TICKET_STATE_WITHDRAWN, pb.TicketState_TICKET_STATE_VOIDED,
		pb.TicketState_TICKET_STATE_ARCHIVED:
		return false
	}
	return true
}

func (s *State) waived(what pb.Requirement) bool { return slices.Contains(s.Waived, what) }

// openWhistle is a whistle of the ticket that has not ended; empty if there is none.
func (s *State) openWhistle() string {
	for _, w := range s.Whistles {
		if w.Outcome == pb.WhistleState_WHISTLE_STATE_UNSPECIFIED {
			return w.ID
		}
	}
	return ""
}

// sealed notes whose key seals what is said about the ticket from now on.
func (s *State) sealed(box *pb.Sealed) {
	if box != nil {
		s.Subject = box.Subject
		if !slices.Contains(s.Subjects, box.Subject) {
			s.Subjects = append(slices.Clip(s.Subjects), box.Subject)
		}
	}
}

// newRound forgets what belongs to one round only.
func (s *State) newRound(round uint32) {
	s.Round, s.Hop, s.Rework = round, 0, 0
	s.Contacted, s.FailedContacts, s.Waived = false, 0, nil
	s.Result, s.Verified, s.CallbackSettled, s.Unreachable, s.FailedCallbacks = 0, false, false, false, nil
	s.Solved, s.Satisfaction, s.CloseKind = 0, 0, 0
	s.SubmittedAt, s.VerifiedAt, s.ClosedAt = time.Time{}, time.Time{}, time.Time{}
	s.HandleLimit, s.RoundLimit, s.ExtendedBy, s.Extension, s.Suspension = "", "", nil, nil, nil
	s.Exclusion, s.Excluded, s.ExcludedMetrics, s.ExclusionDenied = nil, 0, nil, nil
	s.NonReturnable, s.Returns, s.ReturnAsked, s.Led, s.RuledOut, s.Parties = false, 0, false, nil, nil, nil
	s.CoTasks, s.Moves, s.Seen, s.Late, s.JointlyReviewed = nil, nil, false, nil, false
	s.SampledOut, s.ResultEcho = false, 0
	s.Limits = Limits{}
}

// Message is the ticket as the contract shows it, without particulars.
func (s *State) Message(id string) *pb.Ticket {
	m := &pb.Ticket{
		Name: "tickets/" + id, No: s.No, State: s.State, Stage: StageOf(s.State),
		Source: s.Source, SourceRef: s.SourceRef, Channel: s.Channel, Kind: s.Kind, Category: s.Category, Grade: s.Grade,
		Confidentiality: s.Confidentiality, Path: s.Path, Position: s.Position, Holder: s.Holder, Lead: s.Lead, Co: s.Co,
		Fallback: s.Fallback, Round: s.Round, Hop: s.Hop, Rework: s.Rework, Limits: s.Limits.Message(),
		ReportedAt: rule.Stamp(s.ReportedAt), AcceptedAt: rule.Stamp(s.AcceptedAt), DispatchedAt: rule.Stamp(s.DispatchedAt), ClosedAt: rule.Stamp(s.ClosedAt),
		Result: s.Result, CloseKind: s.CloseKind, Solved: s.Solved, Satisfaction: s.Satisfaction,
		DeclineReason: s.DeclineReason, AlsoAffects: s.AlsoAffects,
		Supervision: s.Supervision, Listed: s.Listed, NonReturnable: s.NonReturnable, Returns: s.Returns,
		Extensions: uint32(len(s.ExtendedBy)), ExtensionPending: s.Extension != nil, SuspensionPending: s.Suspension != nil,
		ExclusionPending: s.Exclusion != nil, SuspensionReason: s.Suspended, Excluded: s.Excluded, ExcludedMetrics: s.ExcludedMetrics,
		Urged: s.Urged, Echo: s.Echo, SecretaryOwned: s.SecretaryOwned, WhistleAsked: s.WhistleAsked != nil,
	}
	if s.OnWall() {
		m.Post = "posts/" + s.SourceRef
	}
	if s.MergedInto != "" {
		m.MergedInto = "tickets/" + s.MergedInto
	}
	for _, d := range s.Duplicates {
		m.Duplicates = append(m.Duplicates, "tickets/"+d)
	}
	for _, t := range s.CoTasks {
		m.CoTasks = append(m.CoTasks, &pb.CoTask{Unit: t.Unit, Mandatory: t.Mandatory, State: t.State, SubmitBy: rule.Stamp(t.SubmitBy)})
	}
	for _, w := range s.Whistles {
		m.Whistles = append(m.Whistles, &pb.LinkedWhistle{Name: "whistles/" + w.ID, Outcome: w.Outcome})
	}
	if s.Imported != nil {
		m.Dimensions, m.Agency, m.Status = s.Imported.Dimensions, s.Imported.Agency, s.Imported.Status
	}
	return m
}

// Message is the limits as the contract shows them.
func (l *Limits) Message() *pb.Limits {
	return &pb.Limits{
		AcceptBy: rule.Stamp(l.AcceptBy), DispatchBy: rule.Stamp(l.DispatchBy), SignBy: rule.Stamp(l.SignBy), ContactBy: rule.Stamp(l.ContactBy),
		ReturnBy: rule.Stamp(l.ReturnBy), HandleBy: rule.Stamp(l.HandleBy), VerifyBy: rule.Stamp(l.VerifyBy), CallbackBy: rule.Stamp(l.CallbackBy),
		CloseBy: rule.Stamp(l.CloseBy), SegmentBy: rule.Stamp(l.SegmentBy), Provisional: l.Provisional,
		DecideReturnBy: rule.Stamp(l.DecideReturnBy), RulingBy: rule.Stamp(l.RulingBy), ReviewAt: rule.Stamp(l.ReviewAt),
		AppealBy: rule.Stamp(l.AppealBy), ExclusionBy: rule.Stamp(l.ExclusionBy), ReplyBy: rule.Stamp(l.ReplyBy),
		PlanBy: rule.Stamp(l.PlanBy), ClearBy: rule.Stamp(l.ClearBy),
	}
}
