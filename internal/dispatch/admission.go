package dispatch

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// admitted tells the rule of the admissions that a command names, and of those that something stands under already. One that is not there is
// left out: the rule says what that means.
func (d *Dispatcher) admitted(ctx context.Context, a *rule.Asked, command proto.Message, had []string) error {
	for _, name := range append(admissionsOf(command), had...) {
		s, result, err := d.admissions.state(ctx, name)
		if _, no := errors.AsType[*rule.Refusal](err); no {
			continue
		}
		if err != nil {
			return err
		}
		if a.Admissions == nil {
			a.Admissions = map[string]*pb.Admission{}
		}
		id := ID(result.Stream)
		a.Admissions[id] = s.Message(id)
	}
	return nil
}

// admissionsOf are the names of the admissions that a command names, for what it orders or for those it summons.
func admissionsOf(command proto.Message) []string {
	var names []string
	add := func(name string) {
		if name != "" {
			names = append(names, name)
		}
	}
	if c, ok := command.(interface{ GetAdmission() string }); ok {
		add(c.GetAdmission())
	}
	var summons []*pb.Summons
	switch c := command.(type) {
	case *pb.BlowWhistleRequest:
		summons = c.Summons
	case *pb.ScreenWhistleRequest:
		summons = c.Added
	case *pb.AddParticipantRequest:
		summons = []*pb.Summons{c.Summons}
	}
	for _, s := range summons {
		add(s.GetAdmission())
	}
	return names
}
