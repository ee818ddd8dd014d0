package view_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/view"
)

// hour is n hours after the beginning of day0.
func hour(n float64) time.Time { return day0.Add(time.Duration(n * float64(time.Hour))) }

func in(n float64, msg proto.Message) happened { return happened{hour(n), msg} }

// begun is a ticket of street s that the centre u1, below the root, is about to dispatch.
func begun(more ...happened) []happened {
	holder := []string{"root", "u1"}
	return append([]happened{
		in(0, &pb.TicketReported{No: "n", Channel: pb.Channel_CHANNEL_HOTLINE, Path: path("c", "d", "s"), Category: "0801", AcceptBy: at(hour(4)), CallbackWanted: true, Holder: "u1", HolderPath: holder}),
		in(1, &pb.TicketAccepted{Path: path("c", "d", "s"), DispatchBy: at(hour(5)), Holder: "u1", HolderPath: holder}),
		in(2, &pb.TicketTriaged{Category: "0801", Grade: pb.Grade_GRADE_G2, Holder: "u1", HolderPath: holder}),
	}, more...)
}

// sent is a dispatch to a unit, to be signed within four hours.
func sent(n float64, unit string, handleBy, segmentBy float64) happened {
	return in(n, &pb.TicketDispatched{
		Lead: unit, LeadPath: []string{"root", unit}, Round: 1, Hop: 1, SignBy: at(hour(n + 4)), ContactBy: at(hour(n + 24)),
		HandleBy: at(hour(handleBy)), CloseBy: at(hour(handleBy + 96)), SegmentBy: at(hour(segmentBy)),
	})
}

// worked is a ticket that unit a has and gave a result on in time, at hour 20, which was found to be right at 22.
func worked(more ...happened) []happened {
	return begun(append([]happened{
		sent(3, "a", 100, 100),
		in(4, &pb.TicketSigned{}),
		in(20, &pb.ResultSubmitted{Result: pb.ResultCode_RESULT_CODE_RESOLVED, VerifyBy: at(hour(30))}),
		in(22, &pb.VerificationPassed{CallbackBy: at(hour(46))}),
	}, more...)...)
}

func callback(n float64, contacted bool, solved pb.Solved, satisfaction uint32) happened {
	return in(n, &pb.CallbackRecorded{Contacted: contacted, Solved: solved, Satisfaction: satisfaction})
}

func closedAt(n float64) happened {
	return in(n, &pb.TicketClosed{Kind: pb.CloseKind_CLOSE_KIND_SOLVED})
}

func reopened(n float64) happened {
	return in(n, &pb.TicketReopened{Round: 2, Lead: "a", SignBy: at(hour(n + 4)), ContactBy: at(hour(n + 24)), RedoBy: at(hour(n + 72)), CloseBy: at(hour(n + 168))})
}

// officeHours are those of the built-in calendar.
func officeHours(from, to time.Time) (time.Duration, error) {
	d, _, err := calendar.Default().Worked(from, to)
	return d, err
}

// show is a figure on one line: numerator/denominator, what was left out, what else is told, without zeros.
func show(f *pb.MetricFigure) string {
	var b strings.Builder
	fmt.Fprint(&b, f.Numerator)
	if f.Denominator != nil {
		fmt.Fprintf(&b, "/%d", *f.Denominator)
	}
	for _, m := range []map[string]int64{f.Excluded, f.Parts} {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if m[k] != 0 {
				fmt.Fprintf(&b, " %s=%d", k, m[k])
			}
		}
	}
	if f.MeanHours != nil {
		fmt.Fprintf(&b, " mean=%g median=%g p90=%g", *f.MeanHours, f.GetMedianHours(), f.GetP90Hours())
	}
	if f.WorkingMeanHours != nil {
		fmt.Fprintf(&b, " working mean=%g median=%g p90=%g", *f.WorkingMeanHours, f.GetWorkingMedianHours(), f.GetWorkingP90Hours())
	}
	return b.String()
}

func TestEachMetricIsCountedAsItsDefinitionSays(t *testing.T) {
	t.Parallel()
	type told struct{ metric, level, code, want string }
	yes, partly, no := pb.Solved_SOLVED_YES, pb.Solved_SOLVED_PARTLY, pb.Solved_SOLVED_NO
	pingPong := func(fault pb.ReturnFault, after ...happened) []happened {
		return begun(append([]happened{
			sent(3, "housing", 100, 100),
			in(4, &pb.ReturnRequested{Unit: "housing", Number: 1}),
			in(5, &pb.ReturnApproved{Fault: fault, Unit: "housing", Holder: "u1", HolderPath: []string{"root", "u1"}}),
			sent(6, "transport", 100, 103),
			in(7, &pb.ReturnRequested{Unit: "transport", Number: 2}),
			in(7, &pb.AdjudicationOpened{Parties: []string{"housing", "transport"}, RulingBy: at(hour(30)), Automatic: true, Holder: "u1", HolderPath: []string{"root", "u1"}}),
		}, after...)...)
	}
	registry := []happened{
		in(0, &pb.RegistryStaged{Version: "v1", Content: &pb.RegistryPiece{
			Areas: []*pb.Area{{Code: "s", Level: "street"}, {Code: "m", Level: "community"}},
			Units: []*pb.Unit{{Code: "a", Area: "m"}, {Code: "b", Area: "s"}},
		}}),
		in(0, &pb.RegistryVersionPublished{Version: "v1", Pieces: 1}),
		in(0, &pb.RegistryStaged{Version: "v2", Content: &pb.RegistryPiece{Units: []*pb.Unit{{Code: "a", Area: "s"}}}}), // never in force
	}
	person := func(n float64, category, subject string, more ...happened) []happened {
		return append([]happened{
			in(n, &pb.TicketReported{No: "n", Path: path("c"), Category: category, Sealed: &pb.Sealed{Subject: subject}}),
			in(n, &pb.TicketAccepted{Path: path("c")}),
		}, more...)
	}
	// Units b and e are asked for something by hour 40.
	asked := func(more ...happened) []happened {
		return begun(append([]happened{
			sent(3, "a", 100, 100), in(4, &pb.TicketSigned{}),
			in(4, &pb.CoHandlerRequested{Unit: "b", UnitPath: []string{"root", "b"}, SubmitBy: at(hour(40))}),
			in(4, &pb.CoHandlerRequested{Unit: "e", UnitPath: []string{"root", "e"}, SubmitBy: at(hour(40))}),
		}, more...)...)
	}
	// Unit a moves up from the community to the street at hour 50, and by the next version to a village at 200.
	moving := []happened{
		in(0, &pb.RegistryStaged{Version: "v0", Piece: 1, Content: &pb.RegistryPiece{Units: []*pb.Unit{{Code: "a", Area: "nowhere"}}}}), // begun anew
		in(0, &pb.RegistryStaged{Version: "v1", Piece: 1, Content: &pb.RegistryPiece{
			Areas: []*pb.Area{{Code: "s", Level: "street"}, {Code: "m", Level: "community"}, {Code: "v", Level: "village"}},
			Units: []*pb.Unit{{Code: "a", Area: "m", ValidTo: at(hour(50))}, {Code: "a", Area: "s", ValidFrom: at(hour(50))}, {Code: "b", Area: "s"}, {Code: "e", Area: "m"}},
		}}),
		in(0, &pb.RegistryVersionPublished{Version: "v1", Pieces: 1, ValidFrom: at(hour(-10))}),
		in(0, &pb.RegistryStaged{Version: "v2", Piece: 1, Content: &pb.RegistryPiece{
			Areas: []*pb.Area{{Code: "v", Level: "village"}}, Units: []*pb.Unit{{Code: "a", Area: "v"}},
		}}),
		in(0, &pb.RegistryVersionPublished{Version: "v2", Pieces: 1, ValidFrom: at(hour(200))}),
	}
	for _, c := range []struct {
		name    string
		tickets [][]happened
		want    []told
	}{
		{"merged and reported again", [][]happened{
			person(0, "0801", "p", in(1, &pb.TicketMerged{Into: "x"})),
			person(10, "0801", "p"),           // again
			person(20, "0202", "p"),           // another matter
			person(24*30+10, "0801", "p"),     // thirty days after the second
			person(24*60+10.001, "0801", "p"), // more than thirty days
			person(11, "0801", "q"),           // another person
			person(12, "0801", ""),            // nobody is known
			person(13, "0801", "q", in(14, &pb.TicketWithdrawn{})),
			person(15, "0801", "q", in(16, &pb.TicketAnsweredDirectly{})),
		}, []told{{"M05", "all", "", "3/7 X1=1 X3=1 merged=1 repeated=2"}, {"M05", "category", "0202", "0/1"}}},

		{"two returns, and nobody rules", [][]happened{pingPong(pb.ReturnFault_RETURN_FAULT_DISPATCH_ERROR,
			in(30, &pb.FallbackAssigned{Unit: "fallback", RuledOut: []string{"housing", "transport"}}),
			sent(30, "fallback", 100, 147),
			in(31, &pb.TicketSigned{}),
		)}, []told{
			{"M09", "all", "", "2/3"}, {"M09", "unit", "housing", "1/1"}, {"M09", "unit", "transport", "1/1"}, {"M09", "unit", "fallback", "0/1"},
			{"M09", "unit", "root", "2/3"}, {"M06", "unit", "u1", "2/3"}, {"M06", "street", "s", "2/3"}, {"M06", "unit", "housing", "0/0"},
			{"M08", "unit", "root", "1/3"}, {"M08", "unit", "fallback", "1/1"}, {"M08", "unit", "housing", "0/1"},
			{"M07", "unit", "u1", "1/1"},
		}},
		{"two returns for new facts", [][]happened{pingPong(pb.ReturnFault_RETURN_FAULT_FACTS_CHANGED,
			in(29, &pb.AdjudicationRuled{Lead: "x", Fault: pb.ReturnFault_RETURN_FAULT_FACTS_CHANGED, RuledOut: []string{"housing", "transport"}}),
			sent(29, "x", 100, 147),
		)}, []told{{"M06", "unit", "u1", "3/3"}, {"M09", "all", "", "2/3"}}},
		{"two returns, the second ruled on", [][]happened{pingPong(pb.ReturnFault_RETURN_FAULT_FACTS_CHANGED,
			in(29, &pb.AdjudicationRuled{Lead: "x", Fault: pb.ReturnFault_RETURN_FAULT_DISPATCH_ERROR, RuledOut: []string{"housing", "transport"}}),
			sent(29, "x", 100, 147),
		)}, []told{{"M06", "unit", "u1", "2/3"}}},
		{"a return that is rejected", [][]happened{begun(
			sent(6, "a", 100, 100), // too late
			in(7, &pb.ReturnRequested{Unit: "a"}),
			in(8, &pb.ReturnRejected{Unit: "a"}),
		)}, []told{{"M09", "unit", "a", "1/1 rejected=1"}, {"M07", "unit", "u1", "0/1"}, {"M06", "unit", "u1", "1/1"}}},

		{"signed late, and deemed signed", [][]happened{
			begun(sent(3, "a", 100, 100), in(7, &pb.TicketSigned{})),
			begun(sent(3, "a", 100, 100), in(7.01, &pb.SignOverdue{By: at(hour(7))})),
			begun(sent(3, "a", 100, 100), in(7.01, &pb.SignOverdue{By: at(hour(7))}),
				in(60, &pb.ExclusionGranted{Code: pb.ExclusionCode_EXCLUSION_CODE_X10, Metrics: []string{"M08"}})),
		}, []told{{"M08", "unit", "a", "1/2 X10=1"}}},

		{"a limit to sign that moved", [][]happened{
			begun(sent(3, "a", 100, 100), in(5, &pb.LimitsRecomputed{SignBy: at(hour(27))}), in(20, &pb.TicketSigned{})),
			begun(sent(3, "a", 100, 100), in(4, &pb.TriageCorrected{SignBy: at(hour(5))}), in(6, &pb.TicketSigned{})),
			begun(sent(3, "a", 100, 100), in(6, &pb.TicketSigned{}), in(6.5, &pb.LimitsRecomputed{SignBy: at(hour(5))})), // it was in time
		}, []told{{"M08", "unit", "a", "2/3"}}},
		{"the ticket late, the last unit in time", [][]happened{begun(
			sent(3, "a", 50, 50),
			in(40, &pb.ReturnApproved{Fault: pb.ReturnFault_RETURN_FAULT_FACTS_CHANGED, Unit: "a"}),
			in(41, &pb.TicketDispatched{Lead: "b", LeadPath: []string{"root", "b"}, Hop: 2, Round: 1, HandleBy: at(hour(50)), CloseBy: at(hour(146)), SegmentBy: at(hour(66))}),
			in(60, &pb.ResultSubmitted{}),
		)}, []told{
			{"M10", "street", "s", "1/1"}, {"M10", "unit", "b", "1/1"}, {"M10", "unit", "a", "0/0"},
			{"M11", "street", "s", "0/1"}, {"M11", "unit", "b", "1/1"}, {"M11", "unit", "root", "1/1"},
		}},
		{"a result that is sent back is none", [][]happened{
			begun(sent(3, "a", 50, 50), in(40, &pb.ResultSubmitted{}), in(41, &pb.ResultRejected{})),
			begun(sent(3, "a", 50, 50), in(40, &pb.ResultSubmitted{}), in(41, &pb.VerificationFailed{}), in(51, &pb.ResultSubmitted{})),
			begun(sent(3, "a", 50, 50), in(60, &pb.ExclusionGranted{Code: pb.ExclusionCode_EXCLUSION_CODE_X9, Metrics: []string{"M11", "M13"}})),
			begun(sent(3, "a", 50, 50), in(10, &pb.TicketWithdrawn{})),
			begun(sent(3, "a", 50, 50), in(10, &pb.TicketMerged{Into: "x"})),
			begun(sent(3, "a", 50, 50), in(10, &pb.SuspensionGranted{Reason: pb.SuspensionReason_SUSPENSION_REASON_SEASON})),
		}, []told{{"M10", "unit", "a", "1/3 X1=1 X2=1 X4=1"}, {"M11", "unit", "a", "0/2 X1=1 X2=1 X4=1 X9=1"}, {"M13", "unit", "a", "0/2 X1=1 X2=1 X4=1 X9=1"}}},

		{"rework, and a round again", [][]happened{
			begun(sent(3, "a", 100, 100), in(10, &pb.ResultSubmitted{}), in(11, &pb.VerificationFailed{Rework: 1}), in(12, &pb.ResultSubmitted{}),
				in(13, &pb.VerificationPassed{}), callback(14, true, yes, 5), closedAt(15)),
			worked(callback(24, true, yes, 5), closedAt(25)),
			worked(callback(24, true, no, 1), closedAt(25), reopened(30), in(40, &pb.ResultSubmitted{}), in(41, &pb.VerificationPassed{}),
				callback(42, true, yes, 4), closedAt(43)),
			begun(in(3, &pb.TicketAnsweredDirectly{})),
			{in(0, &pb.RecordImported{No: "n", DueAt: at(hour(9))}), in(4, &pb.ImportedRecordClosed{})}, // of which service knows nothing
		}, []told{
			{"M17", "unit", "a", "1/5"}, {"M18", "unit", "a", "1/4"}, {"M18", "all", "", "1/4 X3=1"}, {"M19", "unit", "a", "1/3"}, {"M26", "unit", "u1", "4/4"},
			{"M23", "unit", "a", "3/3"}, // only the last round's answer
			// 9, 17, 17 hours to the first results that stood, 10 to that of the reopening.
			// Only the last of them ran into office hours, on Monday from nine to twelve and from half past one to four.
			{"M21", "unit", "a", "4 mean=13.25 median=13.5 p90=17 working mean=1.375 median=0 p90=5.5"},
			{"M11", "unit", "a", "3/3"}, {"M13", "unit", "a", "3/3"},
		}},

		{"a redo limit that moved", [][]happened{
			worked(callback(24, true, no, 1), closedAt(25), reopened(30), in(40, &pb.ExtensionGranted{HandleBy: at(hour(150)), CloseBy: at(hour(250)), SegmentBy: at(hour(150))}),
				in(149, &pb.ResultSubmitted{}), closedAt(160)),
			worked(callback(24, true, no, 1), closedAt(25), reopened(30), in(40, &pb.SuspensionGranted{}), in(200, &pb.TicketResumed{HandleBy: at(hour(262)), CloseBy: at(hour(350)), SegmentBy: at(hour(262))}),
				in(261, &pb.ResultSubmitted{}), closedAt(300)),
			worked(callback(24, true, no, 1), closedAt(25), reopened(30), in(40, &pb.LimitsRecomputed{HandleBy: at(hour(126)), CloseBy: at(hour(250)), SegmentBy: at(hour(126))}),
				in(125, &pb.ResultSubmitted{}), closedAt(160)),
			worked(callback(24, true, no, 1), closedAt(25), reopened(30), in(40, &pb.TriageCorrected{HandleBy: at(hour(80))}), // shorter
				in(90, &pb.ResultSubmitted{}), closedAt(91)),
			worked(callback(24, true, no, 1), closedAt(25), reopened(30), in(103, &pb.ResultSubmitted{}), closedAt(104)), // late, and nothing moved
		}, []told{{"M13", "unit", "a", "3/5"}, {"M13", "street", "s", "3/5"}, {"M12", "unit", "a", "5/5"}}},
		{"reopened before it was closed", [][]happened{
			worked(callback(24, true, no, 1), reopened(30), in(40, &pb.ResultSubmitted{}), in(41, &pb.VerificationPassed{}), callback(42, true, yes, 4), closedAt(43)),
			worked(callback(24, true, no, 1), closedAt(25), reopened(30), in(40, &pb.ResultSubmitted{}), in(41, &pb.VerificationPassed{}), callback(42, true, yes, 4), closedAt(43)),
		}, []told{{"M13", "unit", "a", "1/2"}, {"M12", "unit", "a", "2/2"}, {"M18", "unit", "a", "1/3"}}},
		{"time that stood is not counted", [][]happened{begun(
			sent(3, "a", 100, 100),
			in(10, &pb.ExtensionGranted{HandleBy: at(hour(120)), CloseBy: at(hour(200)), SegmentBy: at(hour(120)), Number: 1}),
			in(20, &pb.SuspensionGranted{Reason: pb.SuspensionReason_SUSPENSION_REASON_ENGINEERING}),
			in(320, &pb.TicketResumed{HandleBy: at(hour(420)), CloseBy: at(hour(500)), SegmentBy: at(hour(420))}),
			in(330, &pb.ResultSubmitted{}),
		), begun(sent(3, "a", 100, 100))}, []told{
			{"M20", "unit", "a", "1/2 suspended=1"}, {"M21", "unit", "a", "1 mean=27 median=27 p90=27 working mean=0 median=0 p90=0"}, {"M30", "unit", "a", "0"},
		}},

		{"what petitioners say", [][]happened{
			worked(callback(24, true, yes, 5), closedAt(25)),
			worked(callback(24, false, partly, 3), closedAt(25)),
			worked(callback(24, false, no, 2), closedAt(25)),
			worked(callback(24, true, yes, 0), closedAt(25)),
			worked(in(48, &pb.CallbackUnreachable{Attempts: 3}), closedAt(49)),
			worked(closedAt(24)), // waived
			begun(sent(3, "a", 100, 100), in(10, &pb.PetitionerContacted{Channel: "phone"}), in(20, &pb.ResultSubmitted{}), in(22, &pb.VerificationPassed{}),
				callback(24, false, no, 1), closedAt(25)),
			worked(callback(24, false, no, 1), closedAt(25), in(30, &pb.ExclusionGranted{Code: pb.ExclusionCode_EXCLUSION_CODE_X7, Metrics: []string{"M23", "M24"}})),
			worked(callback(24, false, no, 1), closedAt(25), reopened(26)),       // no longer effective
			begun(in(3, &pb.TicketMerged{Into: "x"}), callback(24, true, no, 4)), // apart
		}, []told{
			{"M22", "unit", "a", "3/6 X5=2"}, {"M22", "all", "", "3/6 X5=2 children=1 children_contacted=1"},
			{"M23", "unit", "a", "2/5 X5=2 X7=1 partly=1"}, {"M23", "all", "", "2/5 X5=2 X7=1 children=1 partly=1"},
			{"M24", "unit", "a", "2/4 X5=2 X7=1 basically_satisfied=1 dissatisfied=1 very_dissatisfied=1 very_satisfied=1"}, {"M24", "all", "", "2/4 X5=2 X7=1 basically_satisfied=1 children=1 children_satisfied=1 dissatisfied=1 very_dissatisfied=1 very_satisfied=1"},
			{"M26", "unit", "u1", "7/9"},
		}},
		{"an exclusion holds for the round that it was granted in", [][]happened{
			worked(callback(24, false, no, 1), closedAt(25), in(30, &pb.ExclusionGranted{Code: pb.ExclusionCode_EXCLUSION_CODE_X11, Metrics: []string{"M11", "M13", "M22", "M23", "M24"}}),
				reopened(31), in(32, &pb.TicketSigned{}), in(90, &pb.ResultSubmitted{}), in(91, &pb.VerificationPassed{}), callback(92, true, yes, 5), closedAt(93)),
			worked(callback(24, false, no, 1), closedAt(25), reopened(31), in(32, &pb.TicketSigned{}), in(40, &pb.ResultSubmitted{}), in(41, &pb.VerificationPassed{}),
				callback(42, true, no, 5), closedAt(43), in(50, &pb.ExclusionGranted{Code: pb.ExclusionCode_EXCLUSION_CODE_X11, Metrics: []string{"M11", "M13", "M22", "M23", "M24"}})),
		}, []told{
			{"M11", "unit", "a", "1/1 X11=1"}, {"M13", "unit", "a", "1/1 X11=1"}, {"M22", "unit", "a", "1/1 X11=1"}, {"M23", "unit", "a", "1/1 X11=1"},
			{"M24", "unit", "a", "1/1 X11=1 very_satisfied=1"},
		}},
		{"an exclusion holds for what was signed in its round", [][]happened{
			worked(callback(24, false, no, 1), closedAt(25), in(30, &pb.ExclusionGranted{Code: pb.ExclusionCode_EXCLUSION_CODE_X10, Metrics: []string{"M08"}}),
				reopened(31), sent(32, "a", 100, 100)),
			worked(callback(24, false, no, 1), closedAt(25), reopened(31), sent(32, "a", 100, 100), in(33, &pb.TicketSigned{}), closedAt(40),
				in(50, &pb.ExclusionGranted{Code: pb.ExclusionCode_EXCLUSION_CODE_X10, Metrics: []string{"M08"}})),
		}, []told{{"M08", "unit", "a", "1/2 X10=2"}}},
		{"petitioners of what has left are asked for nothing", [][]happened{
			worked(callback(24, true, yes, 5), closedAt(25)),
			worked(callback(24, true, yes, 5), in(25, &pb.TicketWithdrawn{})),
			worked(callback(24, true, yes, 5), in(25, &pb.TicketVoided{})),
			worked(callback(24, true, yes, 5), in(25, &pb.TicketMerged{Into: "x"})),
			begun(in(3, &pb.TicketAnsweredDirectly{}), callback(4, true, yes, 5)),
		}, []told{
			{"M22", "all", "", "1/1 X1=2 X2=1 X3=1"}, {"M23", "all", "", "1/1 X1=2 X2=1 X3=1"}, {"M24", "all", "", "1/1 X1=2 X2=1 X3=1 very_satisfied=1"},
		}},
		{"unmerged", [][]happened{
			begun(in(3, &pb.TicketMerged{Into: "x"}), callback(24, true, yes, 4), in(30, &pb.TicketUnmerged{State: pb.TicketState_TICKET_STATE_TRIAGED})),
			begun(in(3, &pb.TicketMerged{Into: "x"}), callback(24, true, yes, 4)),
		}, []told{{"M22", "all", "", "0/0 children=1 children_contacted=1"}, {"M23", "all", "", "0/0 children=1 children_solved=1"}, {"M24", "all", "", "0/0 children=1 children_satisfied=1"}}},
		{"nobody wants to be asked", [][]happened{{
			in(0, &pb.TicketReported{No: "n", Path: path("c"), Anonymous: true}), in(1, &pb.TicketAccepted{Path: path("c")}),
			sent(3, "a", 100, 100), in(20, &pb.ResultSubmitted{}), in(22, &pb.VerificationPassed{}), closedAt(23),
		}}, []told{{"M26", "all", "", "0/0 X5=1"}, {"M22", "all", "", "0/0 X5=1"}}},

		{"tasks of others", [][]happened{begun(
			sent(3, "a", 100, 100),
			in(4, &pb.CoHandlerRequested{Unit: "b", UnitPath: []string{"root", "b"}, SubmitBy: at(hour(40))}),
			in(4, &pb.CoHandlerRequested{Unit: "e", UnitPath: []string{"root", "e"}, SubmitBy: at(hour(40))}),
			in(4, &pb.CoHandlerRequested{Unit: "f", UnitPath: []string{"root", "f"}, SubmitBy: at(hour(40))}),
			in(40, &pb.CoHandlerSubmitted{Unit: "b"}), in(41, &pb.CoHandlerSubmitted{Unit: "e"}), in(41, &pb.CoHandlerDeclined{Unit: "f"}),
		)}, []told{{"M27", "unit", "b", "1/1"}, {"M27", "unit", "e", "0/1"}, {"M27", "unit", "root", "1/2"}, {"M27", "unit", "a", "0/0"}, {"M27", "street", "s", "1/2"}}},

		{"tasks that end by nobody's fault", [][]happened{
			asked(in(10, &pb.ReturnApproved{Unit: "a", Fault: pb.ReturnFault_RETURN_FAULT_FACTS_CHANGED})),
			asked(in(10, &pb.TicketDispatched{Lead: "x", Co: []string{"e"}, Round: 1, Hop: 2, HandleBy: at(hour(100))})), // e's goes on
			asked(in(10, &pb.TicketEscalated{From: "a", To: "b"})),                                                       // b's is part of what it leads
			asked(in(10, &pb.TicketWithdrawn{})),
			asked(in(10, &pb.TicketMerged{Into: "x"})),
			asked(in(10, &pb.TicketMerged{Into: "x"}), in(11, &pb.TicketUnmerged{State: pb.TicketState_TICKET_STATE_DISPATCHED})), // and they are due again
			asked(in(10, &pb.RequirementWaived{What: pb.Requirement_REQUIREMENT_CO_TASKS})),
			asked(in(10, &pb.RequirementWaived{What: pb.Requirement_REQUIREMENT_CONTACT})),
			asked(closedAt(10)),
			asked(reopened(10)),
			asked(in(40.1, &pb.TicketWithdrawn{})), // they were due already
		}, []told{{"M27", "unit", "b", "0/3"}, {"M27", "unit", "e", "0/5"}}},
		{"tasks of others while the clock stands", [][]happened{
			asked(in(10, &pb.SuspensionGranted{Reason: pb.SuspensionReason_SUSPENSION_REASON_SEASON})),
			asked(in(41, &pb.SuspensionGranted{Reason: pb.SuspensionReason_SUSPENSION_REASON_SEASON})), // too late for them
			asked(in(10, &pb.SuspensionGranted{Reason: pb.SuspensionReason_SUSPENSION_REASON_SEASON}),
				in(60, &pb.TicketResumed{HandleBy: at(hour(150)), CloseBy: at(hour(250)), SegmentBy: at(hour(150))}),
				in(90, &pb.CoHandlerSubmitted{Unit: "b"}), in(90.1, &pb.CoHandlerSubmitted{Unit: "e"})),
			asked(in(10, &pb.SuspensionGranted{Reason: pb.SuspensionReason_SUSPENSION_REASON_SEASON}),
				in(60, &pb.TicketResumed{HandleBy: at(hour(80)), CloseBy: at(hour(250)), SegmentBy: at(hour(80))}), // no task outlasts that
				in(80, &pb.CoHandlerSubmitted{Unit: "b"}), in(80.1, &pb.CoHandlerSubmitted{Unit: "e"})),
		}, []told{{"M27", "unit", "b", "2/3"}, {"M27", "unit", "e", "0/3"}}},

		{"levels", [][]happened{
			registry,
			worked(closedAt(24)), // a community's own
			worked(in(23, &pb.WhistleLinked{Whistle: "w"}), closedAt(24)),
			begun(sent(3, "a", 100, 100), in(5, &pb.TicketEscalated{From: "a", To: "b", LeadPath: []string{"root", "b"}, SignBy: at(hour(9))}), in(8, &pb.TicketSigned{})),
			begun(sent(3, "a", 100, 100), in(5, &pb.TicketEscalated{From: "a", To: "b", LeadPath: []string{"root", "b"}}),
				in(6, &pb.EscalationRefused{From: "b", To: "a", LeadPath: []string{"root", "a"}}), closedAt(9)),
			begun(sent(3, "b", 100, 100), in(5, &pb.TicketDelegated{From: "b", To: "a", LeadPath: []string{"root", "a"}}), closedAt(9)),
			begun(sent(3, "nobody", 100, 100)),
		}, []told{
			{"M28", "all", "", "1/5 community=4 community_escalated=1 community_own=2 own=2 street=1"}, {"M28", "unit", "a", "1/4 community=4 community_escalated=1 community_own=2 own=2"},
			{"M28", "unit", "b", "0/1 street=1"}, {"M08", "unit", "b", "1/3"}, {"M06", "unit", "u1", "7/7"},
		}},
		{"what is lifted from a child wall landed there too, and went up", [][]happened{
			registry,
			append([]happened{in(0, &pb.TicketReported{
				No: "n", Source: "wall", Channel: pb.Channel_CHANNEL_WALL, Path: path("c", "d", "s"), Category: "0801", Holder: "a", HolderPath: []string{"root", "a"}, LiftedFrom: "a",
			})}, worked(closedAt(24))[1:]...),
			worked(closedAt(24)),
			// Solved on the wall and not drawn: its own.
			begun(sent(3, "a", 100, 100), in(3, &pb.TicketSigned{}), in(4, &pb.ResultSubmitted{Result: pb.ResultCode_RESULT_CODE_RESOLVED}),
				in(4, &pb.EchoPublished{Kind: pb.EchoKind_ECHO_KIND_RESULT}), in(4, &pb.VerificationSampledOut{Percent: 10}), closedAt(4)),
		}, []told{{"M28", "all", "", "1/4 community=4 community_escalated=1 community_own=3 own=3"}, {"M17", "all", "", "0/2"}}},
		{"levels are those of the registry then in force", [][]happened{
			moving,
			begun(sent(3, "a", 300, 300)),
			begun(sent(50, "a", 300, 300)),
			begun(sent(199, "a", 300, 300)),
			begun(sent(200, "a", 300, 300)),
			begun(sent(201, "b", 300, 300)), // which the second version does not name
		}, []told{{"M28", "all", "", "0/5 community=1 street=3 village=1"}}},
		{"what is closed elsewhere than it landed is not its own", [][]happened{
			moving,
			begun(sent(3, "a", 100, 100), in(4, &pb.ReturnApproved{Unit: "a"}), sent(5, "b", 100, 100), closedAt(20)), // by the street
			begun(sent(3, "a", 100, 100), in(4, &pb.ReturnApproved{Unit: "a"}), sent(5, "e", 100, 100), closedAt(20)), // by another community
			begun(sent(3, "a", 100, 100), in(4, &pb.AdjudicationOpened{}), in(5, &pb.AdjudicationRuled{Lead: "b"}), sent(5, "b", 100, 100), closedAt(20)),
			begun(sent(3, "a", 100, 100), in(4, &pb.AdjudicationOpened{}), in(5, &pb.FallbackAssigned{Unit: "b"}), sent(5, "b", 100, 100), closedAt(20)),
			begun(sent(3, "a", 100, 100), closedAt(20), reopened(30)), // open
			begun(sent(3, "a", 100, 100), closedAt(20), reopened(30), closedAt(40)),
			begun(sent(3, "b", 100, 100), in(5, &pb.TicketDelegated{From: "b", To: "a", LeadPath: []string{"root", "a"}}), closedAt(20)),
			begun(sent(3, "b", 100, 100), closedAt(20)),
		}, []told{{"M28", "all", "", "0/8 community=6 community_own=2 own=3 street=2 street_own=1"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t)
			for i, list := range c.tickets {
				stream := fmt.Sprintf("ticket-%d", i)
				if _, ok := list[0].msg.(*pb.RegistryStaged); ok {
					stream = "registry-main"
				}
				h.record(stream, list...)
			}
			r := h.reader()
			for _, w := range c.want {
				got, _, err := r.MetricOf(t.Context(), view.MetricQuery{Metric: w.metric, Level: w.level, Code: w.code, From: day0, At: day0.AddDate(1, 0, 0), To: day0.AddDate(1, 0, 0), Worked: officeHours})
				if err != nil {
					t.Fatal(err)
				}
				if show(got) != w.want {
					t.Errorf("%s of %s %s: got %s, want %s", w.metric, w.level, w.code, show(got), w.want)
				}
				if (got.Rate == nil) != (got.GetDenominator() == 0) {
					t.Errorf("%s of %s %s: rate %v of %d", w.metric, w.level, w.code, got.Rate, got.GetDenominator())
				}
			}
		})
	}
}

func TestASuspendedTicketIsDueNoMoreUntilItIsResumed(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	// Handle by the tenth day, close by the fourteenth; suspended on the eighth until the fortieth.
	h.record("ticket-1", begun(
		sent(3, "a", 240, 240),
		in(8*24, &pb.SuspensionGranted{Reason: pb.SuspensionReason_SUSPENSION_REASON_ENGINEERING, Remaining: "6 WD"}),
		in(20*24, &pb.SuspensionGranted{Reason: pb.SuspensionReason_SUSPENSION_REASON_ENGINEERING, Renewed: true}),
		in(40*24, &pb.TicketResumed{HandleBy: at(hour(45 * 24)), CloseBy: at(hour(49 * 24)), SegmentBy: at(hour(45 * 24))}),
	)...)
	h.record("ticket-2", begun(
		sent(3, "a", 240, 240),
		in(9*24, &pb.SuspensionGranted{Reason: pb.SuspensionReason_SUSPENSION_REASON_SEASON}),
	)...)
	r := h.reader()
	first, second := day0.AddDate(0, 0, 30), day0.AddDate(0, 0, 60)
	for _, c := range []struct {
		metric       string
		from, to, at time.Time
		want         string
	}{
		{"M12", day0, first, hour(7 * 24), "0/2"}, // before, both are due
		{"M12", day0, first, first, "0/0 X4=2"},
		{"M12", day0, first, second, "0/0 X4=1"},
		{"M12", first, second, second, "0/1"},
		{"M10", day0, first, first, "0/0 X4=2"},
		{"M10", first, second, second, "0/1"},
		{"M19", day0, first, second, "0/0 X4=1"},
		{"M15", day0, first, first, "0"},
		{"M30", day0, first, hour(8.5 * 24), "1 engineering=1 to_30_days=1"},
		{"M30", day0, first, first, "2 engineering=1 season=1 to_30_days=2"},
		{"M30", day0, first, second, "1 season=1 to_90_days=1"},
		{"M30", day0, first, day0.AddDate(0, 0, 200), "1 over_90_days=1 season=1"},
	} {
		got, _, err := r.MetricOf(t.Context(), view.MetricQuery{Metric: c.metric, Level: "street", Code: "s", From: c.from, To: c.to, At: c.at})
		if err != nil {
			t.Fatal(err)
		}
		if show(got) != c.want {
			t.Errorf("%s in [%v, %v) at %v: got %s, want %s", c.metric, c.from, c.to, c.at, show(got), c.want)
		}
	}
	if rows, _, _, err := r.ListLedger(t.Context(), pb.LedgerKind_LEDGER_KIND_SUSPENSION, view.PeriodQuery{Level: "all", From: day0, To: second, At: hour(8*24 + 0.5)}); err != nil ||
		len(rows) != 1 || statement(rows[0]) != "0 + 1 - 0 = 1 map[ENGINEERING:1]" {
		t.Errorf("as of the eighth day: got %v, %v", rows, err)
	}
	for _, c := range []struct {
		from, to time.Time
		want     string
	}{
		{day0, first, "0 + 2 - 0 = 2 map[ENGINEERING:1 SEASON:1]"},
		{first, second, "2 + 0 - 1 = 1 map[SEASON:1]"},
		{hour(8 * 24), hour(8*24 + 1), "0 + 1 - 0 = 1 map[ENGINEERING:1]"},
		{second, time.Time{}, "1 + 0 - 0 = 1 map[SEASON:1]"},
	} {
		for _, level := range []string{"all", "city", "street", "direct", "unit"} {
			rows, _, _, err := r.ListLedger(t.Context(), pb.LedgerKind_LEDGER_KIND_SUSPENSION, view.PeriodQuery{Level: level, From: c.from, To: c.to})
			if err != nil || len(rows) == 0 {
				t.Fatalf("%s: got %v, %v, want a row", level, rows, err)
			}
			for _, row := range rows {
				if got := statement(row); got != c.want {
					t.Errorf("%s %s in [%v, %v): got %s, want %s", level, row.Code, c.from, c.to, got, c.want)
				}
			}
		}
	}
}

func statement(r *pb.LedgerRow) string {
	return fmt.Sprintf("%d + %d - %d = %d %v", r.Opening, r.Added, r.Removed, r.Closing, r.Reasons)
}

func TestAnAreaRestrictsFiguresOfUnitsToItsTickets(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	elsewhere := worked(closedAt(30))
	elsewhere[0] = in(0, &pb.TicketReported{No: "n", Path: path("c", "e")})
	elsewhere[1] = in(1, &pb.TicketAccepted{Path: path("c", "e")})
	h.record("ticket-1", worked()...)
	h.record("ticket-2", elsewhere...)
	r := h.reader()
	for area, want := range map[string]string{"": "2/2", "c": "2/2", "e": "1/1", "s": "1/1", "nowhere": ""} {
		all, _, _, err := r.ListMetrics(t.Context(), view.MetricQuery{Metric: "M10", Level: "unit", Area: area, From: day0, At: day0.AddDate(0, 1, 0)})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range all {
			if f.Code == "a" {
				got = show(f)
			}
		}
		if got != want {
			t.Errorf("in %q: got %s, want %s", area, got, want)
		}
	}
}

func TestAProblemThatWasClearedStandsInTheLedgerAgainOnceItIsListedAgain(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	listed := func(n float64, level uint32) happened {
		return in(n, &pb.SupervisionRaised{Level: level, PlanBy: at(hour(n + 24)), ClearBy: at(hour(n + 48))})
	}
	h.record("ticket-1", begun(sent(3, "a", 100, 100), listed(10, 3), in(20, &pb.ListingCleared{}), listed(30, 3), in(40, &pb.ListingCleared{}),
		in(50, &pb.SupervisionRaised{Level: 4}), listed(60, 4), in(70, &pb.ListingCleared{}))...)
	r := h.reader()
	for _, c := range []struct {
		from, to float64
		want     string
	}{
		{0, 35, "0 + 2 - 1 = 1 map[3:1]"},
		{35, 55, "1 + 0 - 1 = 0 map[]"},
		{55, 65, "0 + 1 - 0 = 1 map[4:1]"},
		{65, 100, "1 + 0 - 1 = 0 map[]"},
	} {
		rows, _, _, err := r.ListLedger(t.Context(), pb.LedgerKind_LEDGER_KIND_LISTING, view.PeriodQuery{Level: "unit", From: hour(c.from), To: hour(c.to)})
		if err != nil || len(rows) == 0 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		for _, row := range rows {
			if got := statement(row); got != c.want {
				t.Errorf("%s from %v to %v: got %s, want %s", row.Code, c.from, c.to, got, c.want)
			}
		}
	}
}

func TestAListedProblemStandsInTheLedgerUntilItIsCleared(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	raised := func(n float64, level uint32) happened {
		return in(n, &pb.SupervisionRaised{Level: level, ReplyBy: at(hour(n + 24)), ClearBy: at(hour(n + 48))})
	}
	h.record("ticket-1", begun(sent(3, "a", 100, 100), raised(10, 1), raised(20, 3), raised(80, 4), in(90, &pb.ListingCleared{}), in(95, &pb.SupervisionLifted{Level: 4}))...)
	h.record("ticket-2", begun(sent(3, "a", 100, 100), raised(30, 3), in(35, &pb.SupervisionReplied{Level: 3}), in(40, &pb.TicketWithdrawn{}))...)
	h.record("ticket-3", begun(sent(3, "b", 100, 100), raised(30, 2), in(60, &pb.SupervisionLifted{Level: 2}))...)
	r := h.reader()
	for _, c := range []struct {
		from, to float64
		want     string
	}{
		{0, 25, "0 + 1 - 0 = 1 map[3:1]"},
		{25, 39, "1 + 1 - 0 = 2 map[3:2]"},
		{39, 85, "2 + 0 - 1 = 1 map[4:1]"},
		{85, 200, "1 + 0 - 1 = 0 map[]"},
	} {
		rows, _, _, err := r.ListLedger(t.Context(), pb.LedgerKind_LEDGER_KIND_LISTING, view.PeriodQuery{Level: "unit", From: hour(c.from), To: hour(c.to)})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if got := statement(row); got != c.want || row.Code == "b" {
				t.Errorf("%s from %v to %v: got %s, want %s", row.Code, c.from, c.to, got, c.want)
			}
		}
	}
	// The first is under supervision from 10 to 95, never answered; the second from 30 to 40, answered; the third from 30 to 60, late.
	rows, _, _, err := r.ListStages(t.Context(), view.PeriodQuery{Level: "street", From: hour(0), To: hour(200)})
	if err != nil {
		t.Fatal(err)
	}
	got := stays(rows)
	if want := "s RECEIVE 3 3 0, s ANALYSE 3 6 0, s ROUTE 1 37 1, s SUPERVISE 3 125 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, _, _, err := r.ListLedger(t.Context(), 0, view.PeriodQuery{Level: "all"}); err == nil {
		t.Error("a ledger of nothing: got no refusal")
	}
}

func stays(rows []*pb.StageRow) string {
	var all []string
	for _, r := range rows {
		all = append(all, fmt.Sprintf("%s %s %d %g %d", r.Code, strings.TrimPrefix(r.Stage.String(), "STAGE_"), r.Stays, r.Hours, r.Overdue))
	}
	return strings.Join(all, ", ")
}

func TestStaysAreToldWhereTheyEnded(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	// Accepted after an hour, returned once, dispatched again; the result found wrong once; closed at 60.
	h.record("ticket-1", begun(
		sent(3, "a", 30, 30),
		in(4, &pb.TicketSigned{}),
		in(5, &pb.ReturnRequested{Unit: "a", DecideBy: at(hour(6))}),
		in(8, &pb.ReturnApproved{Unit: "a", Fault: pb.ReturnFault_RETURN_FAULT_DISPATCH_ERROR, Holder: "u1", HolderPath: []string{"root", "u1"}, DispatchBy: at(hour(12))}),
		sent(10, "b", 30, 40),
		in(11, &pb.TicketSigned{}),
		in(20, &pb.ResultSubmitted{VerifyBy: at(hour(24))}),
		in(22, &pb.VerificationFailed{Rework: 1}),
		in(35, &pb.ResultSubmitted{VerifyBy: at(hour(40))}),
		in(36, &pb.VerificationPassed{CallbackBy: at(hour(50))}),
		closedAt(60), // ten hours after the callback was due
		in(90, &pb.TicketArchived{}),
	)...)
	one := h.last
	// Still with the centre.
	h.record("ticket-2", begun()...)
	r := h.reader()
	// As of an instant, only what had happened by then, and at a position only what was recorded.
	for _, c := range []struct {
		q    view.PeriodQuery
		want string
	}{
		{view.PeriodQuery{At: hour(20)}, " RECEIVE 2 2 0,  ANALYSE 2 7 1,  ROUTE 2 12 0"},
		{view.PeriodQuery{At: hour(20), To: hour(100)}, " RECEIVE 2 2 0,  ANALYSE 2 7 1,  ROUTE 2 12 0"},
		{view.PeriodQuery{At: hour(19.99)}, " RECEIVE 2 2 0,  ANALYSE 2 7 1,  ROUTE 1 2 0"},
		{view.PeriodQuery{At: hour(20), KnownAt: &one}, " RECEIVE 1 1 0,  ANALYSE 2 7 1,  ROUTE 2 12 0"},
		{view.PeriodQuery{To: hour(2), KnownAt: &one}, " RECEIVE 1 1 0"},
	} {
		c.q.Level = "all"
		rows, _, _, err := r.ListStages(t.Context(), c.q)
		if err != nil {
			t.Fatal(err)
		}
		if got := stays(rows); got != c.want {
			t.Errorf("as of %v, known at %v: got %s, want %s", c.q.At, c.q.KnownAt, got, c.want)
		}
	}
	for _, c := range []struct {
		level    string
		from, to float64
		want     string
	}{
		{"all", 0, 100, " RECEIVE 2 2 0,  ANALYSE 2 7 1,  ROUTE 3 25 1,  EVALUATE 2 27 1"},
		{"street", 0, 6, "s RECEIVE 2 2 0, s ANALYSE 1 2 0, s ROUTE 1 2 0"},
		{"unit", 0, 100, "a ROUTE 1 2 0, b ROUTE 2 23 1, b EVALUATE 2 27 1, root RECEIVE 2 2 0, root ANALYSE 2 7 1, root ROUTE 3 25 1, root EVALUATE 2 27 1, u1 RECEIVE 2 2 0, u1 ANALYSE 2 7 1"},
	} {
		rows, _, _, err := r.ListStages(t.Context(), view.PeriodQuery{Level: c.level, From: hour(c.from), To: hour(c.to)})
		if err != nil {
			t.Fatal(err)
		}
		if got := stays(rows); got != c.want {
			t.Errorf("%s from %v to %v: got %s, want %s", c.level, c.from, c.to, got, c.want)
		}
	}
	// Two evaluations took 2 and 25 hours, three routes 2, 10 and 13.
	rows, _, _, err := r.ListStages(t.Context(), view.PeriodQuery{Level: "all", From: hour(0), To: hour(100), WithQuantiles: true})
	if err != nil {
		t.Fatal(err)
	}
	var quantiles []string
	for _, row := range rows {
		quantiles = append(quantiles, fmt.Sprintf("%g %g", row.GetMedianHours(), row.GetP90Hours()))
	}
	if got, want := strings.Join(quantiles, ", "), "1 1, 3.5 5, 10 13, 13.5 25"; got != want {
		t.Errorf("medians and 90th percentiles are %s, want %s", got, want)
	}
	// Pages go on within a node.
	var all []*pb.StageRow
	q := view.PeriodQuery{Level: "unit", From: hour(0), To: hour(100), PageSize: 2}
	for pages := 0; ; pages++ {
		rows, next, _, err := r.ListStages(t.Context(), q)
		if err != nil || pages > 4 || len(rows) > 2 {
			t.Fatalf("page %d: %v", pages, err)
		}
		all = append(all, rows...)
		if q.PageToken = next; next == "" {
			break
		}
	}
	if whole, _, _, err := r.ListStages(t.Context(), view.PeriodQuery{Level: "unit", From: hour(0), To: hour(100)}); err != nil || stays(whole) != stays(all) {
		t.Errorf("in pages: got %s, %v, want %s", stays(all), err, stays(whole))
	}
}

func TestAStayThatEndedBecauseItsLimitPassedIsOverdue(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	// Deemed signed at the limit; handled and verified in time.
	h.record("ticket-1", begun(sent(3, "a", 100, 100), in(7, &pb.SignOverdue{By: at(hour(7))}), in(20, &pb.ResultSubmitted{}))...)
	// Nobody decided on the return by the limit.
	h.record("ticket-2", begun(sent(3, "b", 100, 100), in(4, &pb.TicketSigned{}), in(5, &pb.ReturnRequested{Unit: "b", DecideBy: at(hour(9))}),
		in(9, &pb.ReturnRejected{Unit: "b", Lapsed: true}))...)
	// Rejected in time.
	h.record("ticket-3", begun(sent(3, "e", 100, 100), in(4, &pb.TicketSigned{}), in(5, &pb.ReturnRequested{Unit: "e", DecideBy: at(hour(9))}),
		in(9, &pb.ReturnRejected{Unit: "e"}))...)
	rows, _, _, err := h.reader().ListStages(t.Context(), view.PeriodQuery{Level: "all", From: hour(2.5), To: hour(200)})
	if err != nil {
		t.Fatal(err)
	}
	// Of three stays in ANALYSE before the dispatch, an hour each, none was; of the two of returns, four hours each, one was.
	if got, want := stays(rows), " ANALYSE 5 14 1,  ROUTE 3 21 1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestChildrenAndDirectRowAddUpToTheParentInEveryFigure(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	livesOf(h, rand.New(rand.NewPCG(11, 11)), 150, wholeLife)
	r := h.reader()
	below := map[[2]string][][2]string{
		{"city", "c"}:      {{"district", "d1"}, {"district", "d2"}, {"direct", "c"}},
		{"district", "d1"}: {{"street", "s1"}, {"street", "s2"}},
		{"district", "d2"}: {{"street", "s3"}, {"direct", "d2"}},
		{"street", "s1"}:   {{"community", "m1"}, {"community", "m2"}, {"direct", "s1"}},
	}
	from, to, when := hour(30), hour(250), hour(280)
	add := func(sum map[string]int64, f *pb.MetricFigure) {
		sum["numerator"] += f.Numerator
		sum["denominator"] += f.GetDenominator()
		for k, n := range f.Excluded {
			sum[k] += n
		}
		for k, n := range f.Parts {
			sum[k] += n
		}
	}
	seen := 0
	for _, metric := range view.MetricNames {
		if slices.Contains([]string{"M31", "M32", "M33", "M34", "M35", "M36", "M44"}, metric) {
			continue
		}
		at := func(node [2]string) *pb.MetricFigure {
			f, _, err := r.MetricOf(t.Context(), view.MetricQuery{Metric: metric, Level: node[0], Code: node[1], From: from, To: to, At: when})
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		for parent, children := range below {
			is, sum := map[string]int64{}, map[string]int64{}
			add(is, at(parent))
			for _, child := range children {
				add(sum, at(child))
			}
			for k := range is {
				if is[k] != sum[k] {
					t.Errorf("%s of %v: %s is %d, its children have %d", metric, parent, k, is[k], sum[k])
				}
			}
			seen += len(is)
		}
	}
	if seen < 200 {
		t.Errorf("only %d counters were compared", seen)
	}
	for _, kind := range []pb.LedgerKind{pb.LedgerKind_LEDGER_KIND_SUSPENSION, pb.LedgerKind_LEDGER_KIND_LISTING} {
		for level := range levels {
			rows, _, _, err := r.ListLedger(t.Context(), kind, view.PeriodQuery{Level: level, From: from, To: to})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				var reasons int64
				for _, n := range row.Reasons {
					reasons += n
				}
				if row.Opening+row.Added-row.Removed != row.Closing || reasons != row.Closing || row.Opening < 0 || row.Closing < 0 {
					t.Errorf("%v of %s %s does not balance: %s", kind, level, row.Code, statement(row))
				}
			}
		}
	}
}
