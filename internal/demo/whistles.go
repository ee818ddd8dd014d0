package demo

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// summoned is a unit that is whistled for.
type summoned struct {
	lead     string // as in matter.leads
	optional bool
	takes    time.Duration // from signing to reporting in
}

// blown takes a ticket that the street handles through a whistle, up to its end.
func (s *story) blown(kind pb.WhistleKind, reason string, units ...summoned) {
	s.blow(kind, reason, units)
	if kind != pb.WhistleKind_WHISTLE_KIND_EMERGENCY {
		s.screen(true, units)
	}
	s.then(minute, s.officer(pb.Role_ROLE_STREET_CLERK), pb.WhistleService_GetWhistle_FullMethodName, func(c call) proto.Message {
		return &pb.GetWhistleRequest{Name: c.whistle}
	})
	from, to := 2*minute, 6*minute
	if kind == pb.WhistleKind_WHISTLE_KIND_EMERGENCY { // within half an hour they are there
		from, to = minute/2, minute
	}
	for _, u := range units {
		s.then(s.between(from, to), s.at.clerk(u.lead), pb.WhistleService_SignWhistle_FullMethodName, func(c call) proto.Message {
			return &pb.SignWhistleRequest{Name: c.whistle, RequestId: c.id}
		})
	}
	for _, u := range units {
		s.then(s.between(from/2, to), s.at.clerk(u.lead), pb.WhistleService_ContactStreet_FullMethodName, func(c call) proto.Message {
			return &pb.ContactStreetRequest{Name: c.whistle, RequestId: c.id}
		})
	}
	for _, u := range units {
		s.reportIn(u)
	}
	s.desk()
	if kind == pb.WhistleKind_WHISTLE_KIND_EMERGENCY {
		s.screen(true, units) // it was issued at once, and is looked at after the fact
	}
	for _, u := range units {
		photos := s.photo(pb.AttachmentKind_ATTACHMENT_KIND_AFTER)
		s.then(s.between(20*minute, 60*minute), s.at.clerk(u.lead), pb.WhistleService_CompleteTask_FullMethodName, func(c call) proto.Message {
			return &pb.CompleteTaskRequest{Name: c.whistle, RequestId: c.id, Attachments: photos}
		})
	}
	for _, u := range units {
		s.then(s.between(3*minute, 10*minute), s.officer(pb.Role_ROLE_STREET_CLERK), pb.WhistleService_ReleaseParticipant_FullMethodName, func(c call) proto.Message {
			return &pb.ReleaseParticipantRequest{Name: c.whistle, RequestId: c.id, Unit: s.at.unit(u.lead)}
		})
	}
	s.then(s.between(5*minute, 20*minute), s.officer(pb.Role_ROLE_STREET_LEADER), pb.WhistleService_ConfirmWhistle_FullMethodName, func(c call) proto.Message {
		return &pb.ConfirmWhistleRequest{Name: c.whistle, RequestId: c.id, Resolved: true}
	})
	for _, u := range units {
		s.rate(u)
	}
	s.then(s.between(2*minute, 10*minute), s.officer(pb.Role_ROLE_STREET_CLERK), pb.WhistleService_CloseWhistle_FullMethodName, func(c call) proto.Message {
		return &pb.CloseWhistleRequest{Name: c.whistle, RequestId: c.id}
	})
}

func (s *story) officer(role pb.Role) string {
	person := map[pb.Role]string{
		pb.Role_ROLE_STREET_CLERK: "clerk-", pb.Role_ROLE_STREET_LEADER: "leader-", pb.Role_ROLE_STREET_SECRETARY: "secretary-", pb.Role_ROLE_STREET_DIRECTOR: "director-",
	}[role]
	return actor(person+s.at.street.Code, s.at.street.Code, role)
}

// blow: a tough whistle needs two signatures; in an emergency whoever is there blows.
func (s *story) blow(kind pb.WhistleKind, reason string, units []summoned) {
	r := &pb.BlowWhistleRequest{Kind: kind, Position: s.position(), Particulars: &pb.Particulars{Text: reason}}
	for _, u := range units {
		r.Summons = append(r.Summons, &pb.Summons{Unit: s.at.unit(u.lead), Optional: u.optional})
	}
	role := pb.Role_ROLE_STREET_LEADER
	switch kind {
	case pb.WhistleKind_WHISTLE_KIND_TOUGH:
		role = pb.Role_ROLE_STREET_SECRETARY
	case pb.WhistleKind_WHISTLE_KIND_EMERGENCY:
		role = pb.Role_ROLE_STREET_CLERK
	}
	s.then(s.quickly(5*minute, 30*minute), s.officer(role), pb.WhistleService_BlowWhistle_FullMethodName, func(c call) proto.Message {
		r.RequestId, r.Tickets = c.id, []string{c.ticket}
		return r
	})
	if kind == pb.WhistleKind_WHISTLE_KIND_TOUGH {
		s.then(s.between(5*minute, 25*minute), s.officer(pb.Role_ROLE_STREET_DIRECTOR), pb.WhistleService_BlowWhistle_FullMethodName, func(c call) proto.Message {
			return &pb.BlowWhistleRequest{Name: c.whistle, RequestId: c.id, Kind: kind}
		})
	}
}

// screen: the lowest centre that commands everybody checks, of an emergency whistle after the fact.
func (s *story) screen(issue bool, units []summoned) {
	centre := s.at.district.Code + "-ZH"
	for _, u := range units {
		if s.at.centre(u.lead) == cityCentre {
			centre = cityCentre
		}
	}
	by := actor("screener-"+centre, centre, pb.Role_ROLE_DISPATCHER)
	s.then(s.between(8*minute, 40*minute), by, pb.WhistleService_ScreenWhistle_FullMethodName, func(c call) proto.Message {
		r := &pb.ScreenWhistleRequest{Name: c.whistle, RequestId: c.id, Issue: issue}
		if !issue {
			r.Reason, r.Particulars = "WITHIN_OWN_AUTHORITY", &pb.Particulars{Note: "属街道职权范围，请自行处置"}
		}
		return r
	})
}

func (s *story) reportIn(u summoned) {
	unit, at := s.at.unit(u.lead), s.position()
	s.then(u.takes, s.at.clerk(u.lead), pb.WhistleService_ReportIn_FullMethodName, func(c call) proto.Message {
		return &pb.ReportInRequest{Name: c.whistle, RequestId: c.id, Person: "officer-" + unit, Rank: "科长", Position: at}
	})
}

func (s *story) rate(u summoned) {
	response := uint32(5)
	if u.takes > time.Hour {
		response = 2
	}
	cooperation, result := uint32(3+s.some(2)), uint32(3+s.some(2))
	s.then(s.between(2*minute, 8*minute), s.officer(pb.Role_ROLE_STREET_LEADER), pb.WhistleService_RateUnit_FullMethodName, func(c call) proto.Message {
		return &pb.RateUnitRequest{
			Name: c.whistle, RequestId: c.id, Unit: s.at.unit(u.lead), Response: response, Cooperation: cooperation, Result: result,
			Particulars: &pb.Particulars{Note: "到场及时，配合到位"},
		}
	})
}
