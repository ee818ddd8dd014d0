package rpc

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	encproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
)

// rawCodec sends bytes as they are, and reads answers as bytes.
type rawCodec struct{}

func (rawCodec) Name() string { return encproto.Name }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = rawCodec{}

// methods are all of the contract.
func methods() (all []protoreflect.MethodDescriptor) {
	for _, file := range contract {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				all = append(all, service.Methods().Get(j))
			}
		}
	}
	return all
}

func fullName(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}

// Whatever bytes come, to whatever method, the answer is no fault of the service, and says what was wrong in the one form.
func FuzzRequest(f *testing.F) {
	all := methods()
	for i, m := range all {
		f.Add(uint8(i), []byte(nil))
		f.Add(uint8(i), []byte("\xff\xff"))
		f.Add(uint8(i), []byte("\x0a\x01\xff"))
		name := m.Input().FullName()
		switch name {
		case "chuishao.v1.ReportTicketRequest":
			raw, err := proto.Marshal(matter("seed"))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), raw)
		case "chuishao.v1.BlowWhistleRequest":
			raw, err := proto.Marshal(&pb.BlowWhistleRequest{RequestId: "w", Kind: 1, Summons: []*pb.Summons{{Unit: dispatchtest.DistrictUrban}}, CallItem: "0701"})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), raw)
		}
	}
	city := dispatchtest.Open(f)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	viewing(f, city, &c)()
	conn := serve(f, c, c.register, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})))
	as := acting(context.Background(), dispatchtest.CityCentre,
		"AGENT,DISPATCHER,DUTY_LEADER,SUPERVISOR,CALLER,AUDITOR,SYSTEM,CONNECTED_SYSTEM,STREET_LEADER,STREET_SECRETARY,DEPARTMENT_CLERK,GRID_WORKER")
	f.Fuzz(func(t *testing.T, which uint8, raw []byte) {
		m := all[int(which)%len(all)]
		ctx, cancel := context.WithTimeout(as, 20*time.Second)
		defer cancel()
		var err error
		if m.IsStreamingClient() || m.IsStreamingServer() {
			err = streamRaw(ctx, t, conn, m, raw)
		} else {
			var answer []byte
			err = conn.Invoke(ctx, fullName(m), raw, &answer)
		}
		if err == nil {
			return
		}
		st, _ := status.FromError(err)
		switch st.Code() {
		case codes.DeadlineExceeded, codes.Unavailable:
			if !strings.HasPrefix(string(m.Parent().Name()), "View") { // which may wait for what will never be recorded
				t.Errorf("%s(%q): %v", m.FullName(), raw, err)
			}
		case codes.Internal, codes.Unknown:
			t.Errorf("%s(%q): %v", m.FullName(), raw, err)
		}
		for _, d := range st.Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == Domain && info.Reason != "" {
				return
			}
		}
		t.Errorf("%s(%q): %v says no reason", m.FullName(), raw, err)
	})
}

// streamRaw sends one message, and reads to the end. A failure that answers it counts as the stream's.
func streamRaw(ctx context.Context, t *testing.T, conn *grpc.ClientConn, m protoreflect.MethodDescriptor, raw []byte) error {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: true}, fullName(m))
	if err != nil {
		return err
	}
	if err := stream.SendMsg(raw); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for {
		var answer []byte
		if err := stream.RecvMsg(&answer); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if strings.HasPrefix(string(m.Name()), "Watch") {
			return nil // watches go on for ever
		}
		var failure *pb.Failure
		switch m.Name() {
		case "IntakeTickets":
			out := new(pb.IntakeTicketsResponse)
			if err := proto.Unmarshal(answer, out); err != nil {
				t.Fatal(err)
			}
			failure = out.GetFailure()
		case "ImportRecords":
			out := new(pb.ImportRecordsResponse)
			if err := proto.Unmarshal(answer, out); err != nil {
				t.Fatal(err)
			}
			failure = out.GetFailure()
		}
		if failure != nil && (failure.Reason == "" || failure.Code == uint32(codes.Internal) || failure.Code == uint32(codes.Unknown)) {
			t.Errorf("%s(%q): %v", m.FullName(), raw, failure)
		}
	}
}
