package bus

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// Headers of commands and of their answers.
const (
	// AuthorizationHeader is "Bearer <token>", the same token as over gRPC.
	AuthorizationHeader = "Authorization"
	// TimeoutHeader is how long the caller waits, in milliseconds; 10 s if it does not say, and never more than 60 s.
	TimeoutHeader = "Timeout-Ms"
	// LanguageHeader is the language of messages, as over gRPC.
	LanguageHeader = "Accept-Language"
	// StatusHeader is the status of an answer: "OK", and the body is the method's response; or another of gRPC's codes, such as "INVALID_ARGUMENT", and the body is
	// a google.rpc.Status.
	StatusHeader = "Status"
)

const (
	queue = "dispatchers"

	usualTimeout   = 10 * time.Second
	longestTimeout = 60 * time.Second
	// atOnce is how many commands a process carries out at once; more are refused, to be sent again.
	atOnce = 64
	// mostRequest is the size of the largest request, in bytes.
	mostRequest = 1 << 20
	// errorDomain is the domain of every ErrorInfo, as over gRPC.
	errorDomain = "chuishao.v1"
)

// Commands carries out the commands that come over NATS as "commands.<Service>.<Method>", such as "commands.TicketService.ReportTicket": it hands each to the gRPC server and sends back what
// that answers. So who may do what, and how an error is told, is decided there alone. Of several processes one takes each command. Only methods with
// one request and one response can be called.
type Commands struct {
	Conn *nats.Conn
	// Server is a connection to the gRPC server that names nobody: a command acts for its token.
	Server grpc.ClientConnInterface
}

// Run carries out commands until the context ends, whose error it gives. Those that have come by then are answered first.
func (c *Commands) Run(ctx context.Context) error {
	var running sync.WaitGroup
	free := make(chan struct{}, atOnce)
	sub, err := c.Conn.QueueSubscribe(commandRoot+".*.*", queue, func(m *nats.Msg) {
		if m.Reply == "" {
			return // nobody would learn what came of it
		}
		select {
		case free <- struct{}{}:
			running.Go(func() {
				defer func() { <-free }()
				c.answer(m)
			})
		default:
			send(m, refused(codes.ResourceExhausted, "BUSY", "too many commands at once; send it again"), nil)
		}
	})
	if err != nil {
		return passing(fmt.Errorf("subscribe to commands: %w", err))
	}
	closed := sub.StatusChanged(nats.SubscriptionClosed)
	<-ctx.Done()
	if sub.Drain() == nil {
		// Once it is drained the handler is not called any more.
		select {
		case <-closed:
		case <-time.After(answerWithin):
		}
	}
	running.Wait()
	return ctx.Err()
}

// answer carries out one command. What has begun is carried to its end, also when this process is about to stop.
func (c *Commands) answer(m *nats.Msg) {
	method, st := called(m)
	if st != nil {
		send(m, st, nil)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout(m))
	defer cancel()
	out := metadata.MD{}
	out.Append("authorization", m.Header.Values(AuthorizationHeader)...)
	if language := m.Header.Get(LanguageHeader); printable(language) {
		out.Append("accept-language", language)
	}
	var response []byte
	err := c.Server.Invoke(metadata.NewOutgoingContext(ctx, out), method, m.Data, &response, grpc.ForceCodec(raw{}))
	st = status.Convert(err)
	switch {
	case err != nil && len(st.Details()) == 0:
		// Not the server said so, but what lies between.
		st = refused(st.Code(), between(st.Code()), "the command was not answered; send it again with the same request id")
	case int64(len(response)) > c.Conn.MaxPayload()-4<<10:
		st = refused(codes.ResourceExhausted, "MESSAGE_TOO_LARGE", "the answer is too large for the bus; ask for less, or over gRPC")
	}
	send(m, st, response)
}

func between(c codes.Code) string {
	switch c {
	case codes.DeadlineExceeded:
		return "DEADLINE_EXCEEDED"
	case codes.Unavailable, codes.Canceled:
		return "OUTCOME_UNKNOWN"
	}
	return "TRANSPORT_FAULT"
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// called is the full name of the method that a message calls, or why it is not carried out.
func called(m *nats.Msg) (string, *status.Status) {
	tokens := strings.Split(m.Subject, ".")
	service, method := tokens[1], tokens[2]
	switch authorization := m.Header.Values(AuthorizationHeader); {
	case len(authorization) == 0 || authorization[0] == "":
		return "", refused(codes.Unauthenticated, "CREDENTIALS_MISSING", "want the header Authorization with a bearer token")
	case len(authorization) > 1 || !printable(authorization[0]):
		return "", refused(codes.Unauthenticated, "CREDENTIALS_UNKNOWN", "want one authorization")
	case len(m.Data) > mostRequest:
		return "", refused(codes.InvalidArgument, "MESSAGE_TOO_LARGE", fmt.Sprintf("want at most %d bytes", mostRequest))
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(pb.File_chuishao_v1_ticket_proto.Package().Append(protoreflect.Name(service)))
	if s, ok := d.(protoreflect.ServiceDescriptor); err == nil && ok {
		if is := s.Methods().ByName(protoreflect.Name(method)); is != nil && !is.IsStreamingClient() && !is.IsStreamingServer() {
			return "/" + string(s.FullName()) + "/" + method, nil
		}
	}
	return "", refused(codes.Unimplemented, "UNKNOWN_METHOD", "there is no such method, or it is not one of one request and one response")
}

func timeout(m *nats.Msg) time.Duration {
	ms, err := strconv.ParseUint(m.Header.Get(TimeoutHeader), 10, 32)
	if err != nil || ms == 0 {
		return usualTimeout
	}
	return min(time.Duration(ms)*time.Millisecond, longestTimeout)
}

func refused(code codes.Code, reason, message string) *status.Status {
	st := status.New(code, message)
	if with, err := st.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: errorDomain}); err == nil {
		return with
	}
	return st
}

// send answers. Whoever asked may be gone: then nobody misses it.
func send(m *nats.Msg, st *status.Status, response []byte) {
	answer := &nats.Msg{Header: nats.Header{StatusHeader: {codeName(st.Code())}}, Data: response}
	if st.Code() != codes.OK {
		body, err := proto.Marshal(st.Proto())
		if err != nil {
			return
		}
		answer.Data = body
	}
	_ = m.RespondMsg(answer)
}

// codeName is a code as google.rpc.Code names it.
func codeName(c codes.Code) string {
	if c == codes.OK {
		return "OK"
	}
	if c == codes.Canceled {
		return "CANCELLED"
	}
	return strings.ToUpper(snake(c.String()))
}

// raw is the codec of messages that are bytes already.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) ([]byte, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("want bytes, got %T", v)
	}
	return b, nil
}

func (raw) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("want bytes, got %T", v)
	}
	*b = append([]byte(nil), data...) // the buffer is used again
	return nil
}
