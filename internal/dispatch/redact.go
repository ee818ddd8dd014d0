package dispatch

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/rule"
)

// public is what a command would say to everybody; empty for commands that say nothing in public. Whoever adds a command whose reply everybody
// reads names it here, and its rule asks a.PublicWords.
func public(command proto.Message) string {
	switch c := command.(type) {
	case *pb.ScreenPostRequest:
		if c.Admit {
			return c.GetParticulars().GetReply()
		}
	case *pb.SelfSolvePostRequest, *pb.PublishEchoRequest, *pb.PublishMatterRequest:
		return particularsOf(command).GetReply()
	}
	return ""
}

// needsRedaction says whether words would tell everybody who or where somebody is, as far as a mask can see.
func needsRedaction(words string) bool { return words != "" && privacy.MaskPublic(words) != words }

// names refuses public words, for a.PublicWords, that name the petitioner whose box is given: by name or address.
func (d *Dispatcher) names(ctx context.Context, stream string, a *rule.Asked, command proto.Message, boxes ...*pb.Sealed) error {
	words := public(command)
	if words == "" || a.Unredacted {
		return nil
	}
	for _, box := range boxes {
		said, err := d.unseal(ctx, stream, box)
		if errors.Is(err, privacy.ErrErased) {
			continue
		}
		if err != nil {
			return err
		}
		for _, known := range called(said.GetPetitioner()) {
			a.Unredacted = a.Unredacted || strings.Contains(words, known)
		}
	}
	return nil
}
