package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
)

// interceptor stands before every method: it finds out who calls, refuses what is malformed, and says every error in one way.
type interceptor struct {
	auth    authenticator
	codec   *codec
	log     *slog.Logger
	metrics *Metrics
	store   eventstore.Store // nil: nothing is asked of a history
}

// ours begins the names of this contract's messages; those of health and reflection have no rules of ours.
const ours = Domain + "."

// check refuses a message that could not be read or breaks the contract.
func (i *interceptor) check(m any) error {
	pm, ok := m.(proto.Message)
	if !ok {
		return nil
	}
	r := pm.ProtoReflect()
	if err := i.codec.faultOf(r); err != nil {
		return err
	}
	if !strings.HasPrefix(string(r.Descriptor().FullName()), ours) {
		return nil
	}
	return validate(r)
}

func (i *interceptor) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	began := time.Now()
	resp, err = i.handle(ctx, req, info, handler)
	code := codes.OK
	if err != nil {
		if named, ok := req.(interface{ GetName() string }); ok {
			ctx = context.WithValue(ctx, resourceKey{}, named.GetName())
		}
		st := statusOf(ctx, i.log, requestID(req), err)
		code, resp, err = st.Code(), nil, st.Err()
	}
	i.metrics.done(info.FullMethod, code, began)
	return resp, err
}

func (i *interceptor) handle(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer i.recovered(&err)
	if !isOpen(info.FullMethod) {
		actor, err := i.auth.actor(ctx)
		if err != nil {
			return nil, err
		}
		ctx = context.WithValue(ctx, actorKey{}, actor)
	}
	if err := i.check(req); err != nil {
		return nil, err
	}
	if err := i.reached(ctx, req); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

// recovered makes a fault of a panic, so that one call's does not end everybody's.
func (i *interceptor) recovered(err *error) {
	if p := recover(); p != nil {
		i.metrics.panicked()
		*err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}

// safely does what belongs to one message of a stream.
func (i *interceptor) safely(do func() error) (err error) {
	defer i.recovered(&err)
	return do()
}

func (i *interceptor) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	began := time.Now()
	ctx := ss.Context()
	err := i.handleStream(srv, ss, info, handler)
	code := codes.OK
	if err != nil {
		st := statusOf(ctx, i.log, "", err)
		code, err = st.Code(), st.Err()
	}
	i.metrics.done(info.FullMethod, code, began)
	return err
}

func (i *interceptor) handleStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer i.recovered(&err)
	s := &checkedStream{ServerStream: ss, i: i, ctx: ss.Context(), open: isOpen(info.FullMethod), talks: info.IsClientStream}
	if !s.open {
		actor, err := i.auth.actor(s.ctx)
		if err != nil {
			return err
		}
		s.ctx = context.WithValue(s.ctx, actorKey{}, actor)
		s.authenticated = time.Now()
	}
	return handler(srv, s)
}

// checkedStream checks every message that comes in, and once a second that the credentials are still good: streams can be long.
type checkedStream struct {
	grpc.ServerStream
	i    *interceptor
	ctx  context.Context
	open bool
	// talks: the caller sends more than one message. Its answers are sent to the end, even if the credentials lapse before.
	talks bool

	mu            sync.Mutex
	authenticated time.Time
}

// Context is the call's, with its actor.
func (s *checkedStream) Context() context.Context { return s.ctx }

// RecvMsg receives a message. A *rule.Refusal says that the message, not the stream, is wrong; what could be read of it is in m.
func (s *checkedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if err := s.reauthenticate(); err != nil {
		return err
	}
	if err := s.i.check(m); err != nil {
		return err
	}
	return s.i.reached(s.ctx, m)
}

// SendMsg sends a message.
func (s *checkedStream) SendMsg(m any) error {
	if !s.talks {
		if err := s.reauthenticate(); err != nil {
			return err
		}
	}
	return s.ServerStream.SendMsg(m)
}

// A lapsedError ends a stream whose credentials are good no more.
type lapsedError struct{ *rule.Refusal }

// Unwrap gives the refusal.
func (e lapsedError) Unwrap() error { return e.Refusal }

func (s *checkedStream) reauthenticate() error {
	if s.open {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.authenticated) < time.Second {
		return nil
	}
	_, err := s.i.auth.actor(s.ServerStream.Context())
	if refusal, ok := err.(*rule.Refusal); ok {
		return lapsedError{refusal}
	}
	if err == nil {
		s.authenticated = now
	}
	return err
}

// unknown answers calls of methods that are not there, so that this error too has its details.
func unknown(_ any, ss grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(ss)
	return &rule.Refusal{Reason: UnknownMethod, Message: fmt.Sprintf("there is no method %q", method)}
}

// statusFor is the status of an error within a stream.
func (i *interceptor) statusFor(ctx context.Context, requestID string, err error) *status.Status {
	return statusOf(ctx, i.log, requestID, err)
}
