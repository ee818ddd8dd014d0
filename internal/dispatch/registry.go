package dispatch

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

// registryName is the one stream of reference data.
const registryName = "registry-main"

// registryStream is the reference data, kept folded.
type registryStream struct {
	*streams[registry.State]
	loading    sync.Mutex // one load at a time; another process may still cut in, and is then told so
	refreshing sync.Mutex
	state      atomic.Pointer[registry.State]
}

// empty is the registry before the first version: nothing can be found in it.
var empty = registry.NewSnapshot("", time.Time{}, nil, nil)

func (r *registryStream) at(t time.Time) *registry.Snapshot {
	if s := r.state.Load().At(t); s != nil {
		return s
	}
	return empty
}

// Registry is the version of the reference data that is in force now.
func (d *Dispatcher) Registry() *registry.Snapshot { return d.registry.at(d.Now()) }

// RefreshRegistry reads versions that others published since.
func (d *Dispatcher) RefreshRegistry(ctx context.Context) error {
	d.registry.refreshing.Lock() // or what was read first could be put in force last
	defer d.registry.refreshing.Unlock()
	f, err := d.registry.latest(ctx, d.store, registryName)
	if err != nil {
		return err
	}
	d.registry.state.Store(&f.state)
	return nil
}

// LoadRegistry loads a version of the reference data: all of content, or with a single fault nothing. It takes effect at validFrom, or at
// once if that is zero. Loading the same content under the same name again changes nothing.
func (d *Dispatcher) LoadRegistry(ctx context.Context, actor rule.Actor, version string, validFrom time.Time, pieces []*pb.RegistryPiece, validateOnly bool) ([]*pb.RegistryFault, Result, error) {
	asked := &rule.Asked{Actor: actor}
	if err := asked.Require(pb.Role_ROLE_AUDITOR, pb.Role_ROLE_SYSTEM); err != nil {
		return nil, Result{}, err
	}
	d.registry.loading.Lock()
	defer d.registry.loading.Unlock()
	if err := d.RefreshRegistry(ctx); err != nil {
		return nil, Result{}, err
	}
	var content pb.RegistryPiece
	for _, p := range pieces {
		content.Levels = append(content.Levels, p.GetLevels()...)
		content.Areas = append(content.Areas, p.GetAreas()...)
		content.Units = append(content.Units, p.GetUnits()...)
		content.Categories = append(content.Categories, p.GetCategories()...)
		content.Bans = append(content.Bans, p.GetBans()...)
		content.CallItems = append(content.CallItems, p.GetCallItems()...)
		content.Catalogue = append(content.Catalogue, p.GetCatalogue()...)
	}
	pieces = registry.Split(&content, registry.PieceBytes)
	hash, err := registry.ContentHash(pieces)
	if err != nil {
		return nil, Result{}, rule.Bad("piece", rule.InvalidUTF8, "the content has text that is not UTF-8")
	}
	state := *d.registry.state.Load()
	if was, ok := state.Published(version); ok && bytes.Equal(was.Hash(), hash) {
		f, _, err := d.registry.load(ctx, d.store, registryName)
		return nil, Result{registryName, f.version, f.position, true}, err
	}
	at := validFrom
	if at.IsZero() {
		at = d.Now()
	}
	if faults := registry.Validate(pieces, state.At(at), at); len(faults) > 0 || validateOnly {
		return faults, Result{}, nil
	}
	// The version of the stream stands in the request ids: a load that broke off is begun anew under ids of its own.
	f, _, err := d.registry.load(ctx, d.store, registryName)
	if err != nil {
		return nil, Result{}, err
	}
	id := fmt.Sprintf("registry/%s/%d", version, f.version)
	for i, p := range pieces {
		stage := &pb.RegistryStaged{Version: version, Piece: uint32(i + 1), Content: p}
		if _, _, err := do(ctx, d, d.registry.streams, registryName, Request{Actor: actor, Command: stage, ID: fmt.Sprintf("%s/%d", id, i+1)}, nil); err != nil {
			return nil, Result{}, fmt.Errorf("stage piece %d of registry %s: %w", i+1, version, err)
		}
	}
	publish := &pb.RegistryVersionPublished{Version: version, Pieces: uint32(len(pieces)), ContentHash: hash}
	if !validFrom.IsZero() {
		publish.ValidFrom = timestamppb.New(validFrom)
	}
	_, result, err := do(ctx, d, d.registry.streams, registryName, Request{Actor: actor, Command: publish, ID: id + "/publish"}, nil)
	if err != nil {
		return nil, result, err
	}
	return nil, result, d.RefreshRegistry(ctx)
}
