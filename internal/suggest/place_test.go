package suggest

import (
	"math"
	"slices"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

func TestDistancesAreThoseOnTheGround(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b point
		want float64
	}{
		{point{120.3, 31.5}, point{120.3, 31.5}, 0},
		{point{120, 31}, point{120, 32}, 111195},
		{point{120, 60}, point{121, 60}, 55597},
		{point{0, 0}, point{180, 0}, math.Pi * 6371008.8},
	} {
		if got := metres(c.a, c.b); math.Abs(got-c.want) > 1+c.want/1e4 {
			t.Errorf("%v to %v: got %f, want %f", c.a, c.b, got, c.want)
		}
	}
}

func TestPositionsOfAllDatumsAreComparable(t *testing.T) {
	t.Parallel()
	// Tiananmen as GCJ-02 and as WGS 84.
	gcj := pointOf(&pb.LonLat{Lon: 116.397451, Lat: 39.909187, Datum: pb.Datum_DATUM_GCJ02})
	if d := metres(*gcj, point{116.391207, 39.907782}); d > 5 {
		t.Errorf("got %v, %.1f m off", *gcj, d)
	}
	there := point{120.35, 31.58}
	shifted := shift(there)
	if d := metres(there, shifted); d < 100 || d > 800 {
		t.Errorf("GCJ-02 is shifted by %.0f m", d)
	}
	if back := pointOf(&pb.LonLat{Lon: shifted.lon, Lat: shifted.lat, Datum: pb.Datum_DATUM_GCJ02}); metres(*back, there) > 0.5 {
		t.Errorf("got %v, want %v", *back, there)
	}
	if got := pointOf(&pb.LonLat{Lon: there.lon, Lat: there.lat, Datum: pb.Datum_DATUM_CGCS2000}); *got != there {
		t.Errorf("got %v, want %v", *got, there)
	}
	for _, p := range []*pb.LonLat{nil, {Lon: math.NaN()}, {Lat: math.Inf(1)}, {Lon: 181}} {
		if got := pointOf(p); got != nil {
			t.Errorf("%v: got %v, want none", p, *got)
		}
	}
}

func TestWhateverIsNearLiesInTheCellsAround(t *testing.T) {
	t.Parallel()
	for _, lat := range []float64{0, 31.5, -31.5, 53.5, 65} {
		for _, at := range []point{{120.3, lat}, {120.305, lat + 0.0049}, {-0.0001, lat}} {
			around := cellsAround(at, nearby)
			for k := range 360 {
				angle := float64(k) * math.Pi / 180
				p := point{at.lon + 0.01*math.Cos(angle), at.lat + 0.01*math.Sin(angle)}
				scale := (nearby - 0.01) / metres(at, p)
				p = point{at.lon + (p.lon-at.lon)*scale, at.lat + (p.lat-at.lat)*scale}
				if metres(at, p) <= nearby && !slices.Contains(around, cellOf(p)) {
					t.Fatalf("%v is %f m from %v, but its cell is not looked at", p, metres(at, p), at)
				}
			}
		}
	}
}
