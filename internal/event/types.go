package event

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// types makes an empty event of each type that can have been recorded. A test walks the contract: a message that is
// neither here nor in parts fails it.
var types = map[string]func() proto.Message{
	"TicketReported":           func() proto.Message { return new(pb.TicketReported) },
	"TicketAccepted":           func() proto.Message { return new(pb.TicketAccepted) },
	"DeclineProposed":          func() proto.Message { return new(pb.DeclineProposed) },
	"DeclineDropped":           func() proto.Message { return new(pb.DeclineDropped) },
	"TicketDeclined":           func() proto.Message { return new(pb.TicketDeclined) },
	"TicketAnsweredDirectly":   func() proto.Message { return new(pb.TicketAnsweredDirectly) },
	"TicketTriaged":            func() proto.Message { return new(pb.TicketTriaged) },
	"TriageCorrected":          func() proto.Message { return new(pb.TriageCorrected) },
	"TicketDispatched":         func() proto.Message { return new(pb.TicketDispatched) },
	"TicketSigned":             func() proto.Message { return new(pb.TicketSigned) },
	"PetitionerContacted":      func() proto.Message { return new(pb.PetitionerContacted) },
	"ContactFailed":            func() proto.Message { return new(pb.ContactFailed) },
	"ProgressRecorded":         func() proto.Message { return new(pb.ProgressRecorded) },
	"RequirementWaived":        func() proto.Message { return new(pb.RequirementWaived) },
	"ResultSubmitted":          func() proto.Message { return new(pb.ResultSubmitted) },
	"VerificationPassed":       func() proto.Message { return new(pb.VerificationPassed) },
	"VerificationFailed":       func() proto.Message { return new(pb.VerificationFailed) },
	"CallbackRecorded":         func() proto.Message { return new(pb.CallbackRecorded) },
	"CallbackAttemptFailed":    func() proto.Message { return new(pb.CallbackAttemptFailed) },
	"CallbackUnreachable":      func() proto.Message { return new(pb.CallbackUnreachable) },
	"TicketClosed":             func() proto.Message { return new(pb.TicketClosed) },
	"TicketReopened":           func() proto.Message { return new(pb.TicketReopened) },
	"VoidProposed":             func() proto.Message { return new(pb.VoidProposed) },
	"VoidDropped":              func() proto.Message { return new(pb.VoidDropped) },
	"TicketVoided":             func() proto.Message { return new(pb.TicketVoided) },
	"WhistleLinked":            func() proto.Message { return new(pb.WhistleLinked) },
	"WhistleSettled":           func() proto.Message { return new(pb.WhistleSettled) },
	"RecordImported":           func() proto.Message { return new(pb.RecordImported) },
	"ImportedRecordClosed":     func() proto.Message { return new(pb.ImportedRecordClosed) },
	"WhistleDrafted":           func() proto.Message { return new(pb.WhistleDrafted) },
	"WhistleBlown":             func() proto.Message { return new(pb.WhistleBlown) },
	"WhistleIssued":            func() proto.Message { return new(pb.WhistleIssued) },
	"WhistleReviewed":          func() proto.Message { return new(pb.WhistleReviewed) },
	"WhistleRefused":           func() proto.Message { return new(pb.WhistleRefused) },
	"WhistleSigned":            func() proto.Message { return new(pb.WhistleSigned) },
	"WhistleContacted":         func() proto.Message { return new(pb.WhistleContacted) },
	"ReportedIn":               func() proto.Message { return new(pb.ReportedIn) },
	"TaskDone":                 func() proto.Message { return new(pb.TaskDone) },
	"Released":                 func() proto.Message { return new(pb.Released) },
	"WhistleConfirmed":         func() proto.Message { return new(pb.WhistleConfirmed) },
	"UnitRated":                func() proto.Message { return new(pb.UnitRated) },
	"WhistleClosed":            func() proto.Message { return new(pb.WhistleClosed) },
	"RegistryStaged":           func() proto.Message { return new(pb.RegistryStaged) },
	"RegistryVersionPublished": func() proto.Message { return new(pb.RegistryVersionPublished) },
	"CommandRefused":           func() proto.Message { return new(pb.CommandRefused) },
	"IdentityRevealed":         func() proto.Message { return new(pb.IdentityRevealed) },
	"SubjectErased":            func() proto.Message { return new(pb.SubjectErased) },
}

// parts are the messages of the contract's event file that only stand inside events.
var parts = []string{"EventMeta", "Participant", "RegistryPiece", "Level", "Area", "Unit", "Category"}

// Types are the names of all event types.
func Types() []string {
	names := make([]string, 0, len(types))
	for name := range types {
		names = append(names, name)
	}
	return names
}
