package suggest

import (
	"math"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// point is a place in WGS 84, in degrees.
type point struct{ lon, lat float64 }

// pointOf is a position whatever its datum; nil if there is none. CGCS2000 is within a metre of WGS 84; GCJ-02 is converted by the
// approximation that is known, which is good to some metres.
func pointOf(p *pb.LonLat) *point {
	if p == nil || math.IsNaN(p.GetLon()) || math.IsNaN(p.GetLat()) || math.Abs(p.GetLon()) > 180 || math.Abs(p.GetLat()) > 90 {
		return nil
	}
	at := point{p.GetLon(), p.GetLat()}
	if p.GetDatum() != pb.Datum_DATUM_GCJ02 {
		return &at
	}
	// The shift changes slowly: what is shifted to the given place is found by trying again from where one was off.
	guess := at
	for range 3 {
		shifted := shift(guess)
		guess.lon += at.lon - shifted.lon
		guess.lat += at.lat - shifted.lat
	}
	return &guess
}

// shift is where GCJ-02 shows a point of WGS 84. Outside China nothing is shifted.
func shift(p point) point {
	if p.lon < 72.004 || p.lon > 137.8347 || p.lat < 0.8293 || p.lat > 55.8271 {
		return p
	}
	const a, ee = 6378245.0, 0.00669342162296594323 // of the ellipsoid of Krasovsky
	x, y := p.lon-105, p.lat-35
	wave := func(v float64, amplitude float64, period float64) float64 {
		return amplitude * math.Sin(v*math.Pi/period)
	}
	both := wave(x, 20, 1.0/6) + wave(x, 20, 0.5)
	lat := -100 + 2*x + 3*y + 0.2*y*y + 0.1*x*y + 0.2*math.Sqrt(math.Abs(x)) +
		(both+wave(y, 20, 1)+wave(y, 40, 3)+wave(y, 160, 12)+wave(y, 320, 30))*2/3
	lon := 300 + x + 2*y + 0.1*x*x + 0.1*x*y + 0.1*math.Sqrt(math.Abs(x)) +
		(both+wave(x, 20, 1)+wave(x, 40, 3)+wave(x, 150, 12)+wave(x, 300, 30))*2/3
	radians := p.lat * math.Pi / 180
	magic := 1 - ee*math.Sin(radians)*math.Sin(radians)
	lat = lat * 180 / (a * (1 - ee) / (magic * math.Sqrt(magic)) * math.Pi)
	lon = lon * 180 / (a / math.Sqrt(magic) * math.Cos(radians) * math.Pi)
	return point{p.lon + lon, p.lat + lat}
}

// metres is how far two points are apart on the sphere.
func metres(a, b point) float64 {
	const radius = 6371008.8
	rad := math.Pi / 180
	sinLat, sinLon := math.Sin((b.lat-a.lat)*rad/2), math.Sin((b.lon-a.lon)*rad/2)
	h := sinLat*sinLat + math.Cos(a.lat*rad)*math.Cos(b.lat*rad)*sinLon*sinLon
	return 2 * radius * math.Asin(math.Sqrt(min(1, h)))
}

// cell is a square of the map by which tickets nearby are found.
type cell struct{ x, y int32 }

const cellDegrees = 0.005

func cellOf(p point) cell {
	return cell{int32(math.Floor(p.lon / cellDegrees)), int32(math.Floor(p.lat / cellDegrees))}
}

// cellsAround are the cells in which whatever is at most so many metres away lies.
func cellsAround(p point, distance float64) []cell {
	const degree = 111_000.0 // metres, rather fewer than there are
	dLat := distance / degree
	dLon := distance / (degree * max(0.05, math.Cos((math.Abs(p.lat)+dLat)*math.Pi/180)))
	from, to := cellOf(point{p.lon - dLon, p.lat - dLat}), cellOf(point{p.lon + dLon, p.lat + dLat})
	var cells []cell
	for x := from.x; x <= to.x; x++ {
		for y := from.y; y <= to.y; y++ {
			cells = append(cells, cell{x, y})
		}
	}
	return cells
}
