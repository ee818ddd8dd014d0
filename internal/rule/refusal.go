package rule

import (
	"errors"
	"fmt"
	"time"
)

// Reason says why a rule said no. Reasons are part of the contract: none is ever removed or renamed.
type Reason string

// What can be wrong with a command's shape.
const (
	MissingField        Reason = "MISSING_FIELD"
	BadField            Reason = "BAD_FIELD"
	FieldTooLong        Reason = "FIELD_TOO_LONG"
	TooMany             Reason = "TOO_MANY"
	UnknownValue        Reason = "UNKNOWN_VALUE"
	InvalidUTF8         Reason = "INVALID_UTF8"
	InvalidName         Reason = "INVALID_NAME"
	InvalidRequestID    Reason = "INVALID_REQUEST_ID"
	InvalidETag         Reason = "INVALID_ETAG"
	TimeOutOfRange      Reason = "TIME_OUT_OF_RANGE"
	OccurredInFuture    Reason = "OCCURRED_IN_FUTURE"
	OccurredTooLongAgo  Reason = "OCCURRED_TOO_LONG_AGO"
	OccurredBeforeCause Reason = "OCCURRED_BEFORE_CAUSE"
	MalformedMessage    Reason = "MALFORMED_MESSAGE"
)

// Who may not.
const (
	RoleNotAllowed     Reason = "ROLE_NOT_ALLOWED"
	OutOfScope         Reason = "OUT_OF_SCOPE"
	SeparationOfDuties Reason = "SEPARATION_OF_DUTIES"
	SecondPersonNeeded Reason = "SECOND_PERSON_NEEDED"
)

// What the state or the reference data does not allow.
const (
	NotFound           Reason = "NOT_FOUND"
	AlreadyExists      Reason = "ALREADY_EXISTS"
	WrongState         Reason = "WRONG_STATE"
	RequestIDReused    Reason = "REQUEST_ID_REUSED"
	UnknownArea        Reason = "UNKNOWN_AREA"
	UnknownUnit        Reason = "UNKNOWN_UNIT"
	UnknownCategory    Reason = "UNKNOWN_CATEGORY"
	UnknownCallItem    Reason = "UNKNOWN_CALL_ITEM"
	LeadComplainedOf   Reason = "LEAD_COMPLAINED_OF"
	FiveElementsNeeded Reason = "FIVE_ELEMENTS_NEEDED"
	ContactNeeded      Reason = "CONTACT_NEEDED"
	WhistleOpen        Reason = "WHISTLE_OPEN"
	CallbackNeeded     Reason = "CALLBACK_NEEDED"
	LimitLengthened    Reason = "LIMIT_LENGTHENED"
	AppealLapsed       Reason = "APPEAL_LAPSED"
	NothingProposed    Reason = "NOTHING_PROPOSED"
	AlreadyProposed    Reason = "ALREADY_PROPOSED"
	NotParticipant     Reason = "NOT_PARTICIPANT"
	AlreadyDone        Reason = "ALREADY_DONE"
	TasksOpen          Reason = "TASKS_OPEN"
	RatingsMissing     Reason = "RATINGS_MISSING"
	TicketNotInHand    Reason = "TICKET_NOT_IN_HAND"
	RecordChanged      Reason = "RECORD_CHANGED"
	RegistryNotLoaded  Reason = "REGISTRY_NOT_LOADED"
	RegistryInvalid    Reason = "REGISTRY_INVALID"
	SubjectErased      Reason = "SUBJECT_ERASED"
	DeadlineOutOfRange Reason = "DEADLINE_OUT_OF_RANGE"

	NotReturnable        Reason = "NOT_RETURNABLE"
	ReturnLapsed         Reason = "RETURN_LAPSED"
	RulingNeeded         Reason = "RULING_NEEDED"
	RuledOut             Reason = "RULED_OUT"
	BannedInCommunities  Reason = "BANNED_IN_COMMUNITIES"
	AdmissionNotInForce  Reason = "ADMISSION_NOT_IN_FORCE"
	AdmissionTooSoon     Reason = "ADMISSION_TOO_SOON"
	UnknownBanItem       Reason = "UNKNOWN_BAN_ITEM"
	NotNextLevel         Reason = "NOT_NEXT_LEVEL"
	MustAccept           Reason = "MUST_ACCEPT"
	AppealNeeded         Reason = "APPEAL_NEEDED"
	HasDuplicates        Reason = "HAS_DUPLICATES"
	ConfidentialIntoOpen Reason = "CONFIDENTIAL_INTO_OPEN"
	LimitPassed          Reason = "LIMIT_PASSED"
	ExtensionTooLong     Reason = "EXTENSION_TOO_LONG"
	ExtensionsUsed       Reason = "EXTENSIONS_USED"
	ReviewTooLate        Reason = "REVIEW_TOO_LATE"
	SuspensionNotAllowed Reason = "SUSPENSION_NOT_ALLOWED"
	CalendarInvalid      Reason = "CALENDAR_INVALID"
	ProfileInvalid       Reason = "PROFILE_INVALID"

	ListingOpen         Reason = "LISTING_OPEN"
	NotSupervised       Reason = "NOT_SUPERVISED"
	RectificationNeeded Reason = "RECTIFICATION_NEEDED"
	ReopeningsUsed      Reason = "REOPENINGS_USED"
	PhotosNeeded        Reason = "PHOTOS_NEEDED"
	ExclusionLapsed     Reason = "EXCLUSION_LAPSED"
	RightsRunning       Reason = "RIGHTS_RUNNING"

	NeedsRedaction  Reason = "NEEDS_REDACTION"
	EchoNeeded      Reason = "ECHO_NEEDED"
	NotOnWall       Reason = "NOT_ON_WALL"
	NotSelfSolvable Reason = "NOT_SELF_SOLVABLE"
	NothingToDraw   Reason = "NOTHING_TO_DRAW"
)

// Reasons are all of them, for tests and catalogues that must cover each.
var Reasons = []Reason{
	MissingField, BadField, FieldTooLong, TooMany, UnknownValue, InvalidUTF8, InvalidName, InvalidRequestID, InvalidETag, TimeOutOfRange,
	OccurredInFuture, OccurredTooLongAgo, OccurredBeforeCause, MalformedMessage,
	RoleNotAllowed, OutOfScope, SeparationOfDuties, SecondPersonNeeded,
	NotFound, AlreadyExists, WrongState, RequestIDReused, UnknownArea, UnknownUnit, UnknownCategory, UnknownCallItem,
	LeadComplainedOf, FiveElementsNeeded, ContactNeeded, WhistleOpen, CallbackNeeded, LimitLengthened, AppealLapsed,
	NothingProposed, AlreadyProposed, NotParticipant, AlreadyDone, TasksOpen, RatingsMissing, TicketNotInHand,
	RecordChanged, RegistryNotLoaded, RegistryInvalid, SubjectErased, DeadlineOutOfRange,
	LimitPassed, ExtensionTooLong, ExtensionsUsed, ReviewTooLate, SuspensionNotAllowed, CalendarInvalid, ProfileInvalid,
	ListingOpen, NotSupervised, RectificationNeeded, ReopeningsUsed, PhotosNeeded, ExclusionLapsed, RightsRunning,
	NotReturnable, ReturnLapsed, RulingNeeded, RuledOut, BannedInCommunities, AdmissionNotInForce, AdmissionTooSoon, UnknownBanItem, NotNextLevel, MustAccept,
	AppealNeeded, HasDuplicates, ConfidentialIntoOpen,
	NeedsRedaction, EchoNeeded, NotOnWall, NotSelfSolvable,
	NothingToDraw,
}

// Refusal is a rule's no. It holds no personal data.
type Refusal struct {
	Reason  Reason
	Field   string // the request's field that is at fault, as a path; empty if it is none in particular
	Message string // one English sentence without a full stop, starting in lower case
	// DecidedBy is the event that made it impossible, "TicketDispatched@7 by unit 320200100", where there is one.
	DecidedBy string
	// BanItem and Target say what the ban list kept out of which unit; empty for any other refusal. They are noted with it.
	BanItem, Target string
}

func (r *Refusal) Error() string {
	s := string(r.Reason)
	if r.Field != "" {
		s += ": " + r.Field
	}
	s += ": " + r.Message
	if r.DecidedBy != "" {
		s += " (" + r.DecidedBy + ")"
	}
	return s
}

// Decision is the event that put a ticket or whistle into the main state it is in. The zero value: there is none.
type Decision struct {
	Event   string // its type
	Version uint64 // its place in the stream
	Unit    string // who gave the command; empty for what this system does of itself
	At      time.Time
}

// String is the decision as a refusal names it.
func (d Decision) String() string {
	if d.Event == "" {
		return ""
	}
	if d.Unit == "" { // this system's own
		return fmt.Sprintf("%s@%d", d.Event, d.Version)
	}
	return fmt.Sprintf("%s@%d by unit %s", d.Event, d.Version, d.Unit)
}

// Bad is a refusal for a field's sake.
func Bad(field string, reason Reason, format string, args ...any) error {
	return &Refusal{Reason: reason, Field: field, Message: fmt.Sprintf(format, args...)}
}

// No is a refusal for the state's sake.
func No(reason Reason, format string, args ...any) error {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// About is a refusal that is about a field, whatever it was about; any other error is as it was.
func About(field string, err error) error {
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok {
		return err
	}
	of := *refusal
	of.Field = field
	return &of
}
