package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func archive(s State, a *rule.Asked, c *pb.ArchiveTicketRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func correctArchive(s State, a *rule.Asked, c *pb.CorrectArchiveRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) archived(meta *pb.EventMeta, e *pb.TicketArchived) {}

func (s *State) archiveCorrectionProposed(meta *pb.EventMeta, e *pb.ArchiveCorrectionProposed) {}

func (s *State) archiveCorrectionDropped(meta *pb.EventMeta, e *pb.ArchiveCorrectionDropped) {}

func (s *State) archiveCorrected(meta *pb.EventMeta, e *pb.ArchiveCorrected) {}
