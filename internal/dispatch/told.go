package dispatch

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/ticket"
)

// told is what the report of a ticket and its acceptance said together, in clear: what was said later counts, and what was left
// out then stays. Erased says that one of them cannot be read any more.
func (d *Dispatcher) told(ctx context.Context, stream string, s *ticket.State) (p *pb.Particulars, erased bool, err error) {
	for _, box := range []*pb.Sealed{s.Reported, s.Accepted} {
		more, err := d.unseal(ctx, stream, box)
		switch {
		case errors.Is(err, privacy.ErrErased):
			erased = true
		case err != nil:
			return nil, false, err
		case p == nil:
			p = more
		case more != nil:
			if who := more.Petitioner; p.Petitioner != nil && who.GetName()+who.GetPhone()+who.GetIdNumber() != "" {
				p.Petitioner.Anonymous = false // who was, and is identified now
			}
			proto.Merge(p, more)
		}
	}
	return p, erased, nil
}
