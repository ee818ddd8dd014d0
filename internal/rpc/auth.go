package rpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/chuishao/dispatch/internal/principal"
	"github.com/chuishao/dispatch/internal/rule"
)

// Principals knows who may call; *principal.File does.
type Principals interface {
	// Lookup gives the actor whose bearer token it is, as of now.
	Lookup(token string, now time.Time) (rule.Actor, error)
	// LookupCertificate gives the actor whose verified client certificate has the subject, as of now.
	LookupCertificate(subject string, now time.Time) (rule.Actor, error)
}

type actorKey struct{}

// ActorFrom is who calls, as the call's credentials said.
func ActorFrom(ctx context.Context) (rule.Actor, bool) {
	actor, ok := ctx.Value(actorKey{}).(rule.Actor)
	return actor, ok
}

// authenticator turns a call's credentials into its actor.
type authenticator struct {
	principals Principals // nil: none are known
	dev        bool       // metadata of a caller on this machine is believed
}

// open are the services that ask for no credentials: they say nothing about anybody.
var open = []string{"/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"}

func isOpen(method string) bool {
	for _, service := range open {
		if strings.HasPrefix(method, service) {
			return true
		}
	}
	return false
}

// actor takes the first credentials it finds: bearer token, client certificate, development metadata. Wrong ones are refused even
// where later ones would do.
func (a *authenticator) actor(ctx context.Context) (rule.Actor, error) {
	now := time.Now()
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		if len(values) > 1 {
			return rule.Actor{}, unauthenticated(CredentialsUnknown, "more than one authorization was given")
		}
		scheme, token, _ := strings.Cut(values[0], " ")
		token = strings.TrimSpace(token)
		if !strings.EqualFold(scheme, "bearer") || token == "" {
			return rule.Actor{}, unauthenticated(CredentialsUnknown, "want authorization: Bearer and a token")
		}
		if a.principals == nil {
			return rule.Actor{}, unauthenticated(CredentialsUnknown, "this server knows no tokens")
		}
		actor, err := a.principals.Lookup(token, now)
		return actor, refusedCredentials(err)
	}
	from, ok := peer.FromContext(ctx)
	if !ok {
		return rule.Actor{}, unauthenticated(CredentialsMissing, "the caller's address is not known")
	}
	if info, ok := from.AuthInfo.(credentials.TLSInfo); ok && a.principals != nil && len(info.State.VerifiedChains) > 0 {
		subject := info.State.VerifiedChains[0][0].Subject.String()
		actor, err := a.principals.LookupCertificate(subject, now)
		return actor, refusedCredentials(err)
	}
	if values := metadata.ValueFromIncomingContext(ctx, principal.DevActorHeader); len(values) > 0 {
		switch {
		case !a.dev, !principal.Loopback(from.Addr):
			return rule.Actor{}, unauthenticated(CredentialsUnknown, "development actors are not accepted here")
		case len(values) > 1:
			return rule.Actor{}, unauthenticated(CredentialsUnknown, "more than one development actor was given")
		}
		actor, err := principal.ParseDevActor(values[0])
		if err != nil {
			return rule.Actor{}, unauthenticated(CredentialsUnknown, err.Error())
		}
		return actor, nil
	}
	return rule.Actor{}, unauthenticated(CredentialsMissing, "want a bearer token or a client certificate")
}

func refusedCredentials(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, principal.ErrNotValid):
		return unauthenticated(CredentialsNotValid, "the credentials are not valid now")
	case errors.Is(err, principal.ErrUnknown):
		return unauthenticated(CredentialsUnknown, "the credentials are not known")
	}
	return err
}

func unauthenticated(reason rule.Reason, message string) error {
	return &rule.Refusal{Reason: reason, Message: message}
}
