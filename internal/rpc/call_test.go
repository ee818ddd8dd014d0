package rpc

import (
	"context"
	"testing"

	"google.golang.org/grpc/metadata"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// What a command costs on this side: a report with its checks and its actor, and nothing behind them.
func BenchmarkCall(b *testing.B) {
	conn := serve(b, Config{DevActor: true}, echo{}.register)
	client := pb.NewTicketServiceClient(conn)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "chuishao-dev-actor", devActor)
	m := matter("r")
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := client.ReportTicket(ctx, m); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
