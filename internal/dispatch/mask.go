package dispatch

import (
	"slices"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

// parts are parts of particulars.
type parts uint16

const (
	partPetitioner parts = 1 << iota
	partTitle
	partText
	partPlace
	partCause
	partCourse
	partReply
	partNote

	allParts = partPetitioner | partTitle | partText | partPlace | partCause | partCourse | partReply | partNote
	matter   = partTitle | partPlace | partReply // what somebody needs who helps with it or looks at the result
)

// shown is what a role is shown of a ticket's particulars, always masked: of its own unit's, that is where the unit is holder
// or lead or lies above or below one, and of others' that it may see. No role: nothing.
var shown = map[pb.Role]struct{ own, others parts }{
	pb.Role_ROLE_CITIZEN:             {partTitle | partReply, partTitle | partReply},
	pb.Role_ROLE_AGENT:               {allParts, allParts},
	pb.Role_ROLE_GRID_WORKER:         {allParts, matter},
	pb.Role_ROLE_COMMUNITY_CLERK:     {allParts, matter},
	pb.Role_ROLE_COMMUNITY_SECRETARY: {allParts, matter},
	pb.Role_ROLE_STREET_CLERK:        {allParts, matter},
	pb.Role_ROLE_STREET_LEADER:       {allParts, matter},
	pb.Role_ROLE_STREET_SECRETARY:    {allParts, matter},
	pb.Role_ROLE_STREET_DIRECTOR:     {allParts, matter},
	pb.Role_ROLE_DEPARTMENT_CLERK:    {allParts, matter},
	pb.Role_ROLE_DEPARTMENT_HEAD:     {allParts, matter},
	pb.Role_ROLE_DISPATCHER:          {allParts, allParts},
	pb.Role_ROLE_DUTY_LEADER:         {allParts, allParts},
	pb.Role_ROLE_SUPERVISOR:          {allParts, allParts},
	pb.Role_ROLE_CALLER:              {allParts, allParts},
	pb.Role_ROLE_ASSESSMENT:          {partReply, partReply},
	pb.Role_ROLE_AUDITOR:             {allParts, allParts},
	pb.Role_ROLE_SYSTEM:              {allParts, allParts},
	pb.Role_ROLE_CONNECTED_SYSTEM:    {partTitle | partReply, partTitle | partReply},
}

// handlers are the roles that are not shown the petitioner of a confidential ticket, which may be about them.
var handlers = []pb.Role{
	pb.Role_ROLE_GRID_WORKER, pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY, pb.Role_ROLE_STREET_CLERK,
	pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR, pb.Role_ROLE_DEPARTMENT_CLERK,
	pb.Role_ROLE_DEPARTMENT_HEAD,
}

// sees is what an actor is shown of a ticket's particulars: what any of the actor's roles is.
func (d *Dispatcher) sees(s *ticket.State, actor rule.Actor) parts {
	own := slices.ContainsFunc([]string{s.Holder, s.Lead}, func(unit string) bool {
		return rule.Within(d.Registry(), unit, actor.Unit) || rule.Within(d.Registry(), actor.Unit, unit)
	})
	var all parts
	for _, role := range actor.Roles {
		seen := shown[role].others
		if own {
			seen = shown[role].own
		}
		if s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL && slices.Contains(handlers, role) {
			seen &^= partPetitioner
		}
		all |= seen
	}
	return all
}

// mask leaves of particulars what is seen, with names, numbers and addresses masked. Who asked for confidence is not shown at all.
func mask(p *pb.Particulars, seen parts) {
	if p == nil {
		return
	}
	for part, words := range map[parts]*string{
		partTitle: &p.Title, partText: &p.Text, partPlace: &p.Place, partCause: &p.Cause, partCourse: &p.Course, partReply: &p.Reply, partNote: &p.Note,
	} {
		if seen&part == 0 {
			*words = ""
		}
		*words = privacy.MaskText(*words)
	}
	if seen&partPetitioner == 0 {
		p.Petitioner = nil
	}
	if who := p.Petitioner; who != nil {
		p.Petitioner = &pb.Petitioner{
			Name: privacy.MaskName(who.Name), Phone: privacy.MaskPhone(who.Phone), Address: privacy.MaskAddress(who.Address),
			Anonymous: who.Anonymous, Confidential: who.Confidential, CallbackWanted: who.CallbackWanted,
		}
		if who.Confidential {
			p.Petitioner.Name, p.Petitioner.Phone, p.Petitioner.Address = "", "", ""
		}
	}
}
