package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
)

func TestANodeSuggestsUnlessItIsToldNotTo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code codes.Code
	}{{nil, codes.OK}, {[]string{"--suggest=false"}, codes.Unimplemented}} {
		data := filepath.Join(t.TempDir(), "data")
		var out, errs bytes.Buffer
		load := []string{"registry", "--data", data, "--version", "v", filepath.Join("..", "..", "examples", "wuxi")}
		if code := app.Run(t.Context(), "dispatcher", "", load, app.IO{Out: &out, Err: &errs}, commands...); code != 0 || !strings.Contains(out.String(), ", 203 catalogue entries") {
			t.Fatalf("exit code %d\n%s%s", code, out.String(), errs.String())
		}

		ctx, stop := context.WithCancel(t.Context())
		told, tell := io.Pipe()
		ended := make(chan int, 1)
		args := append([]string{"serve", "--data", data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"}, c.args...)
		go func() {
			ended <- app.Run(ctx, "dispatcher", "", args, app.IO{Out: tell, Err: io.Discard}, commands...)
			tell.Close()
		}()
		line, err := bufio.NewReader(told).ReadString('\n')
		if err != nil {
			stop()
			t.Fatalf("exit code %d: %v", <-ended, err)
		}
		go io.Copy(io.Discard, told) // until it ends

		remote := app.Remote{Addr: strings.TrimSpace(strings.TrimPrefix(line, "grpc ")), DevActor: "person=p;roles=DISPATCHER;unit=320200000000-ZH"}
		conn, err := remote.Dial()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := pb.NewTicketServiceClient(conn).SuggestTriage(ctx, &pb.SuggestTriageRequest{
			Area: "320205001001", Particulars: &pb.Particulars{Title: "路灯不亮"},
		})
		if status.Code(err) != c.code || err == nil && (len(answer.Leads) == 0 || answer.Leads[0].Lead != "320205000000-SZ") {
			t.Errorf("%v: got %v, %v, want %v", c.args, answer, err, c.code)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}
