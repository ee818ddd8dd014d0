package rpc

import (
	"context"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// direct calls what is registered without an interceptor before it, so that the call is not refused before its method is reached, with one empty
// message from nobody, whose call has ended.
type direct struct {
	ctx   context.Context
	calls map[string]func() error // by full name
}

func (d direct) RegisterService(s *grpc.ServiceDesc, impl any) {
	for _, m := range s.Methods {
		d.calls["/"+s.ServiceName+"/"+m.MethodName] = func() error {
			_, err := m.Handler(impl, d.ctx, func(any) error { return nil }, nil)
			return err
		}
	}
	for _, m := range s.Streams {
		d.calls["/"+s.ServiceName+"/"+m.StreamName] = func() error { return m.Handler(impl, &single{ctx: d.ctx}) }
	}
}

// single is a stream that brings one empty message.
type single struct {
	grpc.ServerStream
	ctx     context.Context
	brought bool
}

func (s *single) Context() context.Context { return s.ctx }

func (s *single) SendMsg(any) error { return nil }

func (s *single) RecvMsg(any) error {
	if s.brought {
		return io.EOF
	}
	s.brought = true
	return nil
}

// implemented says whether a method that answers so is. Of one that is not the generated code says so in a status; what is ours to refuse is none yet.
func implemented(err error) bool {
	st, ok := status.FromError(err)
	return !ok || st.Code() != codes.Unimplemented
}

func TestEveryMethodOfTheContractIsImplemented(t *testing.T) {
	t.Parallel()
	city, c := suggests(t)
	viewing(t, city, &c)
	ctx, end := context.WithCancel(t.Context())
	end()
	d := direct{ctx, map[string]func() error{}}
	newServer(c, func(_ grpc.ServiceRegistrar, i *interceptor) { c.register(d, i) })

	found := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("chuishao.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				found++
				name := fullName(methods.Get(j))
				if call := d.calls[name]; call == nil {
					t.Errorf("%s is on no server", name)
				} else if err := call(); !implemented(err) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		return true
	})
	if found == 0 || found != len(methods()) {
		t.Errorf("the contract has %d methods, of which metrics know %d", found, len(methods()))
	}

	// And one that is not would be found.
	pb.RegisterWallServiceServer(d, struct {
		pb.UnimplementedWallServiceServer
	}{})
	if err := d.calls[pb.WallService_PostOnWall_FullMethodName](); implemented(err) {
		t.Errorf("a method without a handler: got %v", err)
	}
}
