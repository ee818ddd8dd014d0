package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// queries measures single questions to the whole node, one after the other, through gRPC.
func (r *run) queries(ctx context.Context) error {
	conn, err := grpc.NewClient("passthrough:///"+r.whole.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	views := pb.NewViewServiceClient(conn)
	random := rand.New(rand.NewPCG(17, 19))
	asks := 300
	if !r.Quick {
		asks = 2000
	}
	now := time.Now()
	ctx = metadata.NewOutgoingContext(ctx, dispatcher.metadata)

	closure, err := ask(asks, func() error {
		p := r.city.place(random)
		node := p.path[random.IntN(len(p.path))]
		_, err := views.GetClosure(ctx, &pb.GetClosureRequest{
			Level: node.Level, Code: node.Code, AsOf: stamp(now.Add(-time.Duration(random.Int64N(int64(year))))),
		})
		if status.Code(err) == codes.NotFound {
			return nil // nothing was reported there by then
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("closure: %w", err)
	}
	note := fmt.Sprintf("%d questions through gRPC, random node and instant", asks)
	r.report.add("closure_query_p50_ms", quantile(closure, 0.50), "ms", note)
	r.report.add("closure_query_p99_ms", quantile(closure, 0.99), "ms", note)

	listed := 0
	inbox := func(filter func(*place) string) func() error {
		return func() error {
			answer, err := views.ListTickets(ctx, &pb.ListTicketsRequest{Filter: "open AND " + filter(r.city.place(random))})
			listed += len(answer.GetTickets())
			return err
		}
	}
	ofUnit, err := ask(asks/2, inbox(func(p *place) string {
		return fmt.Sprintf("holder = %q", p.leads[random.IntN(len(p.leads))].actor.Unit)
	}))
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	ofArea, err := ask(asks/2, inbox(func(p *place) string {
		return fmt.Sprintf("area = %q", p.path[random.IntN(len(p.path))].Code)
	}))
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	ofRole, err := ask(asks/2, func() error {
		p := r.city.place(random)
		who := []*who{dispatcher, supervisor, caller, p.leads[random.IntN(len(p.leads))]}[random.IntN(4)]
		answer, err := views.ListInbox(metadata.NewOutgoingContext(ctx, who.metadata), &pb.ListInboxRequest{})
		listed += len(answer.GetRows())
		return err
	})
	if err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	all := slices.Concat(ofUnit, ofArea, ofRole)
	r.report.add("list_query_p99_ms", quantile(all, 0.99), "ms", fmt.Sprintf(
		"%d lists, by deadline of a unit (median %s, p99 %s) and of an area (median %s, p99 %s), and inboxes by light (median %s, p99 %s); %s rows a page", len(all),
		number(quantile(ofUnit, 0.5)), number(quantile(ofUnit, 0.99)), number(quantile(ofArea, 0.5)), number(quantile(ofArea, 0.99)),
		number(quantile(ofRole, 0.5)), number(quantile(ofRole, 0.99)), number(float64(listed)/float64(len(all)))))
	return nil
}

// ask does something n times and gives how long each took.
func ask(n int, do func() error) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		if err := do(); err != nil {
			return nil, err
		}
		took[i] = time.Since(began)
	}
	return took, nil
}
