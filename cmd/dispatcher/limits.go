package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"google.golang.org/grpc"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// limitsLoader loads calendars and profiles, here or at a server.
type limitsLoader interface {
	year(context.Context, *pb.LoadCalendarYearRequest) (version string, err error)
	profile(context.Context, *pb.LoadProfileRequest) (name string, err error)
	inForce(context.Context) (calendar, profile string, err error)
}

// loadLimits loads a year of holidays, a deadline profile or both; an empty file name stands for none.
func loadLimits(ctx context.Context, place *app.Place, yearFile, profileFile string, io app.IO) (err error) {
	var year *calendar.Year
	var profile []byte
	if yearFile != "" {
		if year, err = readYear(yearFile); err != nil {
			return err
		}
	}
	if profileFile != "" {
		if profile, err = os.ReadFile(profileFile); err != nil {
			return err
		}
		if _, err := calendar.ReadProfile(profile); err != nil {
			return fmt.Errorf("%s: %w", profileFile, err)
		}
	}
	var to limitsLoader
	if place.Local() {
		if err := place.MakeData(); err != nil {
			return err
		}
		var node *app.Node
		if node, err = place.OpenData(ctx, io); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, node.Close()) }()
		to = limitsHere{node}
	} else {
		var conn *grpc.ClientConn
		if conn, err = place.Dial(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, conn.Close()) }()
		to = limitsThere{pb.NewRegistryServiceClient(conn)}
	}
	was, wasProfile, err := to.inForce(ctx)
	if err != nil {
		return err
	}
	// The request ids name what was in force before: the same file may be loaded again after another.
	if year != nil {
		r := &pb.LoadCalendarYearRequest{Year: int32(year.Year), Off: year.Off, Work: year.Work}
		r.RequestId = fmt.Sprintf("calendar/%s/%d/%.8x", was, r.Year, sha256.Sum256(fmt.Append(nil, r.Off, r.Work)))
		version, err := to.year(ctx, r)
		if err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "calendar %s in force, with %d\n", version, year.Year)
	}
	if profile != nil {
		r := &pb.LoadProfileRequest{Content: string(profile)}
		r.RequestId = fmt.Sprintf("profile/%.32s/%.8x", wasProfile, sha256.Sum256(profile))
		name, err := to.profile(ctx, r)
		if err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "profile %s in force\n", name)
	}
	return nil
}

// readYear reads a year of holidays, as NateScarlet/holiday-cn publishes it or as {"year", "off", "work"}.
func readYear(file string) (*calendar.Year, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var shape struct {
		Days json.RawMessage `json:"days"`
		calendar.Year
	}
	if err := json.Unmarshal(raw, &shape); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if shape.Days == nil {
		return &shape.Year, nil
	}
	year, err := calendar.ReadYear(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &year, nil
}

type limitsHere struct{ *app.Node }

var loader = rule.Actor{Person: "registry", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}

func (h limitsHere) year(ctx context.Context, r *pb.LoadCalendarYearRequest) (string, error) {
	c, _, err := h.Dispatcher.LoadCalendarYear(ctx, loader, r)
	return c.Version(), err
}

func (h limitsHere) profile(ctx context.Context, r *pb.LoadProfileRequest) (string, error) {
	p, _, err := h.Dispatcher.LoadProfile(ctx, loader, r)
	return p.String(), err
}

func (h limitsHere) inForce(context.Context) (string, string, error) {
	return h.Dispatcher.Calendar().Version(), h.Dispatcher.Profile().String(), nil
}

type limitsThere struct{ pb.RegistryServiceClient }

func (t limitsThere) year(ctx context.Context, r *pb.LoadCalendarYearRequest) (string, error) {
	got, err := t.LoadCalendarYear(ctx, r)
	return got.GetVersion(), err
}

func (t limitsThere) profile(ctx context.Context, r *pb.LoadProfileRequest) (string, error) {
	got, err := t.LoadProfile(ctx, r)
	return got.GetName() + "@" + got.GetVersion(), err
}

func (t limitsThere) inForce(ctx context.Context) (string, string, error) {
	c, err := t.GetCalendar(ctx, &pb.GetCalendarRequest{})
	if err != nil {
		return "", "", err
	}
	p, err := t.GetProfile(ctx, &pb.GetProfileRequest{})
	return c.GetVersion(), p.GetName() + "@" + p.GetVersion(), err
}
