package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rpc"
)

// The street whose desk is watched, and who is summoned there.
var (
	deskStreet = newWho("duty", "320205001000", pb.Role_ROLE_STREET_CLERK)
	deskCalled = []*who{
		newWho("c", "320205000000-CG", pb.Role_ROLE_DEPARTMENT_CLERK), newWho("j", "320205000000-JT", pb.Role_ROLE_DEPARTMENT_CLERK),
		newWho("z", "320205000000-ZJ", pb.Role_ROLE_DEPARTMENT_CLERK), newWho("s", "320205000000-SC", pb.Role_ROLE_DEPARTMENT_CLERK),
	}
)

// deskApart is the time between two commands of whistles: far more than any city has.
const deskApart = 40 * time.Millisecond

// desk is a street's desk that is watched while whistles are blown and answered.
type desk struct {
	conn   grpc.ClientConnInterface
	stream grpc.ServerStreamingClient[pb.WatchDeskResponse]
	stop   context.CancelFunc

	mu    sync.Mutex
	seen  eventstore.Position // that the desk was told of
	moved chan struct{}       // closed when that changes
	ended chan struct{}       // closed when nothing more is told
}

// watchDesk begins to watch the street's desk, and waits until it has been told everything once.
func watchDesk(ctx context.Context, conn grpc.ClientConnInterface) (*desk, error) {
	ctx, stop := context.WithCancel(ctx)
	d := &desk{conn: conn, stop: stop, moved: make(chan struct{}), ended: make(chan struct{})}
	var err error
	if d.stream, err = pb.NewViewServiceClient(conn).WatchDesk(metadata.NewOutgoingContext(ctx, deskStreet.metadata), new(pb.WatchDeskRequest)); err == nil {
		_, err = d.stream.Recv()
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("watch a desk: %w", err)
	}
	go func() {
		defer close(d.ended)
		for {
			m, err := d.stream.Recv()
			if err != nil {
				return // that of close, or what await tells of
			}
			at, err := rpc.ParseToken("", m.ConsistencyToken)
			if err != nil {
				return
			}
			d.mu.Lock()
			d.seen = at
			close(d.moved)
			d.moved = make(chan struct{})
			d.mu.Unlock()
		}
	}()
	return d, nil
}

func (d *desk) close() {
	d.stop()
	<-d.ended
}

// await waits until the desk has been told of what stands at a position.
func (d *desk) await(ctx context.Context, token string) error {
	position, err := rpc.ParseToken("", token)
	if err != nil {
		return err
	}
	for {
		d.mu.Lock()
		seen, moved := d.seen, d.moved
		d.mu.Unlock()
		if seen >= position {
			return nil
		}
		select {
		case <-moved:
		case <-d.ended:
			return errors.New("a desk is told nothing more")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// whistle blows the nth emergency whistle and has everybody sign, come, do their task and be released, and yields each answer.
func (d *desk) whistle(ctx context.Context, n int, yield func(answer *pb.WhistleAnswer) error) error {
	whistles := pb.NewWhistleServiceClient(d.conn)
	as := func(w *who) context.Context { return metadata.NewOutgoingContext(ctx, w.metadata) }
	id := func(what string, i int) string { return fmt.Sprintf("bench/desk/%d/%s/%d", n, what, i) }
	blow := &pb.BlowWhistleRequest{RequestId: id("blow", 0), Kind: pb.WhistleKind_WHISTLE_KIND_EMERGENCY, Particulars: &pb.Particulars{Text: "水管爆裂"}}
	for _, w := range deskCalled {
		blow.Summons = append(blow.Summons, &pb.Summons{Unit: w.actor.Unit})
	}
	blown, err := whistles.BlowWhistle(as(deskStreet), blow)
	if err != nil {
		return err
	}
	if err := yield(blown); err != nil {
		return err
	}
	name := blown.Name
	for _, step := range []func(i int, w *who) (*pb.WhistleAnswer, error){
		func(i int, w *who) (*pb.WhistleAnswer, error) {
			return whistles.SignWhistle(as(w), &pb.SignWhistleRequest{Name: name, RequestId: id("sign", i)})
		},
		func(i int, w *who) (*pb.WhistleAnswer, error) {
			return whistles.ReportIn(as(w), &pb.ReportInRequest{Name: name, RequestId: id("in", i), Person: "P-1", Rank: "科长", Position: &pb.LonLat{Lon: 120.35, Lat: 31.58}})
		},
		func(i int, w *who) (*pb.WhistleAnswer, error) {
			return whistles.CompleteTask(as(w), &pb.CompleteTaskRequest{Name: name, RequestId: id("done", i)})
		},
		func(i int, w *who) (*pb.WhistleAnswer, error) {
			return whistles.ReleaseParticipant(as(deskStreet), &pb.ReleaseParticipantRequest{Name: name, RequestId: id("release", i), Unit: w.actor.Unit})
		},
	} {
		for i, w := range deskCalled {
			answer, err := step(i, w)
			if err == nil {
				err = yield(answer)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// errEnough ends a measurement.
var errEnough = errors.New("enough")

// delays has whistles blown and answered until done, and gives how long after each answer the desk was told of it.
func (d *desk) delays(ctx context.Context, done <-chan struct{}) (took []time.Duration, err error) {
	for n := 0; err == nil; n++ {
		err = d.whistle(ctx, n, func(answer *pb.WhistleAnswer) error {
			answered := time.Now()
			if err := d.await(ctx, answer.ConsistencyToken); err != nil {
				return err
			}
			took = append(took, time.Since(answered))
			pause(ctx, deskApart)
			select {
			case <-done:
				return errEnough
			default:
				return ctx.Err()
			}
		})
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return took, err
}
