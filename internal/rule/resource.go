package rule

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// Resource is a kind of thing that commands are for, each thing with a stream of events of its own.
type Resource struct {
	Collection string   // of its names: "posts" in "posts/{post}"
	Stream     string   // the kind of its streams: "wall" in "wall-{post}"
	Commands   []string // the requests that are for one, without the word Request; the first bring one to life
}

// Resources are all kinds of resources beside tickets and whistles.
var Resources = []Resource{
	{"posts", "wall", []string{"PostOnWall", "ScreenPost", "SupportPost", "SelfSolvePost", "LiftPost", "TicketPost", "RecordJointHandling", "RecordJointSolving", "ReviewPost"}},
	{"deliberations", "deliberation", []string{"ChooseMatter", "RecordDeliberation", "DecideMatter", "PublishMatter"}},
	{"exchanges", "exchange", []string{"OpenEntry", "MatchEntry", "FulfilEntry", "WithdrawEntry"}},
	{"admissions", "admission", []string{"ApplyForAdmission", "ReviewAdmission", "ObjectToAdmission", "DecideAdmission", "RevokeAdmission", "PassAdmissionTimer"}},
	{"listings", "listing", []string{"ListProblem", "PlanRectification", "ReportRectified", "CheckRectification", "ClearListedProblem", "HoldToAccount", "PassListingTimer"}},
	{"checks", "check", []string{"DrawSpotCheck", "RecordSpotCheck"}},
	{"reviews", "review", []string{"OpenReview", "ScoreReview", "CloseReview", "GradeResidentUnit", "GiveStreetOpinion"}},
}

var (
	tickets  = Resource{Collection: "tickets", Stream: "ticket"}
	whistles = Resource{Collection: "whistles", Stream: "whistle"}

	all = append([]Resource{tickets, whistles}, Resources...)
)

// ResourceOf is the kind of resource that a command of the contract is for.
func ResourceOf(command proto.Message) Resource {
	d := command.ProtoReflect().Descriptor()
	name := strings.TrimSuffix(string(d.Name()), "Request")
	for _, r := range Resources {
		if slices.Contains(r.Commands, name) {
			return r
		}
	}
	if d.ParentFile().Path() == pb.File_chuishao_v1_whistle_proto.Path() {
		return whistles
	}
	return tickets
}

// ResourceIn is the kind of resource whose names are in a collection; ok is false if there is none.
func ResourceIn(collection string) (r Resource, ok bool) {
	for _, r := range all {
		if r.Collection == collection {
			return r, true
		}
	}
	return Resource{}, false
}

// NameOf is the name of the resource that a stream is of: "posts/{post}" of "wall-{post}". What is of no resource is given back as it is.
func NameOf(stream string) string {
	kind, id, _ := strings.Cut(stream, "-")
	for _, r := range all {
		if r.Stream == kind {
			return r.Collection + "/" + id
		}
	}
	return stream
}

// Kind is what one of them is called: "post".
func (r Resource) Kind() string { return strings.TrimSuffix(r.Collection, "s") }

// Aggregate is a stream's folded state, to those who need not know its kind.
type Aggregate interface {
	// Exists says whether it came to life.
	Exists() bool
	// Standing is its public number and its main state, as its enum names it without the enum's prefix.
	Standing() (no, state string)
	// Owner is the data subject whose key seals what is said of it; empty while nothing was.
	Owner() string
	// MaySee says whether somebody may know of it at the instant.
	MaySee(r Registry, who Actor, at time.Time) bool
}
