package view

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/review"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// ReviewsView is the name of the view of ratings and reviews.
const ReviewsView = "reviews_1"

// Reviews is the view of what units are thought of: a row for each rating of a unit on a whistle or ticket, and for each review. There are
// few of them, so figures are added up when asked for.
func Reviews() projector.View {
	return projector.View{
		Name: ReviewsView,
		Schema: []string{
			// rating is the event's position, behind the name of the whistle or ticket, unit_path and path hold quoted words: the latter level,
			// code and name of each step.
			`CREATE TABLE reviews_rating_1 (
	rating      INTEGER PRIMARY KEY,
	behind      TEXT NOT NULL,
	unit_path   TEXT NOT NULL,
	path        TEXT NOT NULL,
	kind        BIGINT NOT NULL,
	response    BIGINT NOT NULL,
	cooperation BIGINT NOT NULL,
	result      BIGINT NOT NULL,
	rated_at    BIGINT NOT NULL
)`,
			// review is the position of the first event, closed that of the last; members holds person, kind and capacity of each.
			`CREATE TABLE reviews_1 (
	review    INTEGER PRIMARY KEY,
	id        TEXT NOT NULL UNIQUE,
	no        TEXT NOT NULL,
	kind      TEXT NOT NULL,
	state     BIGINT NOT NULL,
	unit      TEXT NOT NULL,
	unit_path TEXT NOT NULL,
	person    TEXT NOT NULL,
	opened_by TEXT NOT NULL,
	ticket    TEXT NOT NULL,
	members   TEXT NOT NULL,
	scored    BIGINT NOT NULL,
	points    BIGINT,
	from_at   BIGINT,
	to_at     BIGINT,
	opened_at BIGINT NOT NULL,
	closed_at BIGINT,
	closed    BIGINT
)`,
		},
		Indexes: []string{
			`CREATE INDEX reviews_rating_1_at ON reviews_rating_1 (rated_at)`,
			`CREATE INDEX reviews_1_unit ON reviews_1 (unit, review)`,
		},
		Apply: func(_ context.Context, tx *viewdb.Tx, batch []event.Decoded) error {
			for i := range batch {
				if err := applyReview(tx, &batch[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func applyReview(tx *viewdb.Tx, d *event.Decoded) error {
	kind, id := kind(d)
	switch kind {
	case "ticket":
		if e, ok := d.Event.(*pb.LeadRated); ok {
			return saveRating(tx, d, "tickets/"+id, e, e.UnitPath, e.Path, e.RaterKind)
		}
		return nil
	case "whistle":
		if e, ok := d.Event.(*pb.UnitRated); ok {
			units := e.UnitPath
			if len(units) == 0 { // as the first versions recorded it
				units = []string{e.Unit}
			}
			return saveRating(tx, d, "whistles/"+id, e, units, e.Path, e.RaterKind)
		}
		return nil
	case "review":
	default:
		return others(d, kind)
	}
	at, position := micros(d.Meta.OccurredAt), int64(d.Position)
	open := func(no, kind string, state pb.ReviewState, unit string, unitPath []string, person, openedBy, ticket string, members []string, points, from, to, closedAt, closed any) error {
		err := tx.Put(`INSERT INTO reviews_1 (review, id, no, kind, state, unit, unit_path, person, opened_by, ticket, members, scored, points, from_at, to_at, opened_at, closed_at, closed)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $13, $14, $15, $16, $17)`,
			position, id, no, kind, int64(state), unit, quoteAll(unitPath), person, openedBy, ticket, quoteAll(members), points, from, to, at, closedAt, closed)
		return err
	}
	switch e := d.Event.(type) {
	case *pb.ReviewOpened:
		var members []string
		for _, m := range e.Group {
			members = append(members, m.Person, strings.TrimPrefix(m.Kind.String(), "REVIEWER_KIND_"), m.Capacity)
		}
		return open(e.No, review.Triple, pb.ReviewState_REVIEW_STATE_OPEN, e.Unit, e.UnitPath, e.Person, e.OpenedBy, e.Ticket, members, nil,
			micros(e.From), micros(e.To), nil, nil)
	case *pb.ReviewScored:
		return changed(d)(tx.Exec("UPDATE reviews_1 SET scored = scored + 1 WHERE id = $1", id))
	case *pb.ReviewClosed:
		return changed(d)(tx.Exec("UPDATE reviews_1 SET state = $1, points = $2, closed_at = $3, closed = $4 WHERE id = $5",
			int64(pb.ReviewState_REVIEW_STATE_CLOSED), int64(e.Points), at, position, id))
	case *pb.ResidentUnitGraded:
		return open(e.No, review.ResidentUnit, pb.ReviewState_REVIEW_STATE_CLOSED, e.Unit, nil, "", e.Community, "", nil, int64(e.Score),
			micros(e.From), micros(e.To), at, position)
	case *pb.StreetOpinionGiven:
		return open(e.No, review.StreetOpinion, pb.ReviewState_REVIEW_STATE_CLOSED, e.Department, nil, "", e.Street, "", nil, nil, nil, nil, at, position)
	}
	return unknown(d)
}

// changed says that an event changed a row, or that it has none.
func changed(d *event.Decoded) func(int64, error) error {
	return func(n int64, err error) error {
		if err == nil && n == 0 {
			return orphan(d)
		}
		return err
	}
}

// marks are what every rating brings.
type marks interface {
	GetResponse() uint32
	GetCooperation() uint32
	GetResult() uint32
}

func saveRating(tx *viewdb.Tx, d *event.Decoded, behind string, m marks, unitPath []string, path []*pb.AreaNode, kind pb.RaterKind) error {
	var steps []string
	for _, n := range path {
		steps = append(steps, n.Level, n.Code, n.Name)
	}
	err := tx.Put(`INSERT INTO reviews_rating_1 (rating, behind, unit_path, path, kind, response, cooperation, result, rated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		int64(d.Position), behind, quoteAll(unitPath), quoteAll(steps), int64(kind), int64(m.GetResponse()), int64(m.GetCooperation()), int64(m.GetResult()), micros(d.Meta.OccurredAt))
	return err
}

// leastRatings is how many ratings M37 needs to be told.
const leastRatings = 3

// opinion is a rating or a closed review: what it adds to a metric's figures, and where.
type opinion struct {
	at       int64 // the position of what made it count
	behind   string
	path     []*pb.AreaNode
	units    []string
	num, den int64
	parts    map[string]int64
}

// opinions are those of the metric within the period, in the order they were recorded.
func opinions(tx *viewdb.Tx, q *MetricQuery, from, to, t int64) (list []opinion, err error) {
	until := ever
	if q.KnownAt != nil {
		until = int64(*q.KnownAt)
	}
	if q.Metric == "M40" {
		for row, err := range tx.Query("SELECT closed, id, unit, unit_path, points FROM reviews_1 WHERE kind = $1 AND closed_at >= $2 AND closed_at < $3 AND closed_at <= $4 AND closed <= $5 ORDER BY closed",
			review.Triple, from, to, t, until) {
			if err != nil {
				return nil, err
			}
			units := unquote(row.Text(3))
			if len(units) == 0 {
				units = []string{row.Text(2)}
			}
			list = append(list, opinion{at: row.Int64(0), behind: "reviews/" + row.Text(1), units: units, num: row.Int64(4), den: 100})
		}
		return list, nil
	}
	w := q.Weights
	if w == nil {
		w = registry.DefaultWeights()
	}
	by := map[pb.RaterKind]struct {
		name   string
		weight uint32
	}{
		pb.RaterKind_RATER_KIND_UNSPECIFIED:  {"street", w.ByStreet},
		pb.RaterKind_RATER_KIND_STREET:       {"street", w.ByStreet},
		pb.RaterKind_RATER_KIND_OTHER_STREET: {"other_street", w.ByStreet},
		pb.RaterKind_RATER_KIND_COMMUNITY:    {"community", w.ByCommunity},
		pb.RaterKind_RATER_KIND_RESIDENT:     {"residents", w.ByResidents},
	}
	for row, err := range tx.Query("SELECT rating, behind, unit_path, path, kind, response, cooperation, result FROM reviews_rating_1 WHERE rated_at >= $1 AND rated_at < $2 AND rated_at <= $3 AND rating <= $4 ORDER BY rating",
		from, to, t, until) {
		if err != nil {
			return nil, err
		}
		rater := by[pb.RaterKind(row.Int64(4))]
		weight := int64(rater.weight)
		o := opinion{at: row.Int64(0), behind: row.Text(1), units: unquote(row.Text(2)), den: 1000 * weight}
		o.num = weight * (int64(w.Response)*row.Int64(5) + int64(w.Cooperation)*row.Int64(6) + int64(w.Result)*row.Int64(7))
		o.parts = map[string]int64{"ratings": 1, "by_" + rater.name: 1, "response": row.Int64(5), "cooperation": row.Int64(6), "result": row.Int64(7)}
		steps := unquote(row.Text(3))
		for i := 0; i+2 < len(steps); i += 3 {
			o.path = append(o.path, &pb.AreaNode{Level: steps[i], Code: steps[i+1], Name: steps[i+2]})
		}
		if q.Map != nil {
			o.path = present(q.Map, o.path)
		}
		list = append(list, o)
	}
	return list, nil
}

// nodes gives each node of the level that the opinion counts at.
func (o *opinion) nodes(level string, yield func(code, name, path string)) {
	switch level {
	case "all":
		yield("", "", "")
	case "unit":
		for _, u := range o.units {
			yield(u, u, "")
		}
	default:
		var names []string
		for _, n := range o.path {
			names = append(names, n.Name)
			if n.Level == level {
				yield(n.Code, n.Name, strings.Join(names, "/"))
			}
		}
	}
}

// reviewMetrics are M37 and M40 of the nodes of a level. M37 is the mean mark from 1 to 5 of the unit that was rated: every mark counts by the
// weight of its kind, every rating by that of its rater; it is not told of fewer than three. M40 is the mean of the points of closed triple reviews.
func (r *Reader) reviewMetrics(ctx context.Context, q MetricQuery) (all []*pb.MetricFigure, at eventstore.Position, err error) {
	from, to, t, err := q.span()
	if err != nil {
		return nil, 0, err
	}
	byCode := map[string]*pb.MetricFigure{}
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, ReviewsView); err != nil {
			return err
		}
		list, err := opinions(tx, &q, from, to, t)
		for i := range list {
			o := &list[i]
			if q.Area != "" && !slices.ContainsFunc(o.path, func(n *pb.AreaNode) bool { return n.Code == q.Area }) {
				continue
			}
			o.nodes(q.Level, func(code, name, path string) {
				if above(o.path, q.Area, q.Level, code) {
					return
				}
				f := byCode[code]
				if f == nil {
					f = &pb.MetricFigure{Metric: q.Metric, Level: q.Level, Code: code, Name: name, Path: path, Denominator: new(int64), Parts: map[string]int64{}}
					byCode[code] = f
				}
				f.Numerator += o.num
				*f.Denominator += o.den
				for part, n := range o.parts {
					f.Parts[part] += n
				}
				if q.Metric == "M40" {
					f.Parts["reviews"]++
				}
			})
		}
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	all = slices.SortedFunc(maps.Values(byCode), func(a, b *pb.MetricFigure) int { return cmp.Compare(a.Code, b.Code) })
	for _, f := range all {
		if q.Metric == "M40" || f.Parts["ratings"] >= leastRatings {
			f.Rate = rate(f.Numerator, f.GetDenominator())
		}
	}
	if q.KnownAt != nil {
		at = *q.KnownAt
	}
	return all, at, nil
}

// reviewsBehind gives what is behind M37 and M40: the whistles and tickets that a unit was rated on, once for each rating, and the reviews.
func (r *Reader) reviewsBehind(ctx context.Context, q BehindQuery, m *MetricQuery, after int64, size int, bound []byte) (page []*pb.BehindTicket, next string, total int64, at eventstore.Position, err error) {
	from, to, t, err := m.span()
	if err != nil {
		return nil, "", 0, 0, err
	}
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, ReviewsView); err != nil {
			return err
		}
		list, err := opinions(tx, m, from, to, t)
		if err != nil {
			return err
		}
		var last int64
		for i := range list {
			o := &list[i]
			in := false
			o.nodes(q.Level, func(code, _, _ string) { in = in || code == q.Code })
			if !in || q.Set == pb.FigureSet_FIGURE_SET_EXCLUDED {
				continue
			}
			total++
			switch {
			case o.at <= after:
			case len(page) == size:
				if next == "" {
					next = token(bound, fmt.Sprint(last))
				}
			default:
				page = append(page, &pb.BehindTicket{Name: o.behind})
				last = o.at
			}
		}
		return nil
	})
	return page, next, total, at, err
}

// holding says in SQL that quoted words hold one. Both engines tell capital letters apart here, as LIKE does in one of them only.
func holding(c *condition, column, word string) string {
	return "replace(" + column + ", " + c.arg(quoteAll([]string{word})) + ", '') <> " + column
}

// ReviewQuery asks for a page of reviews.
type ReviewQuery struct {
	Scope Scope
	// Person is who asks: a member of a group sees its review.
	Person string
	// Filter and OrderBy are as ListReviewsRequest has them.
	Filter, OrderBy string
	PageSize        int32
	PageToken       string
}

var reviewFields = declare(map[string]field{
	"no":     {kind: textField, column: "no"},
	"state":  {kind: enumField, column: "state", values: pb.ReviewState_value, prefix: "REVIEW_STATE_"},
	"kind":   {kind: textField, column: "kind"},
	"unit":   {kind: textField, column: "unit"},
	"person": {kind: textField, column: "person"},
})

// ListReviews gives a page of the reviews that the filter lets through: those that are closed, and of the others those in scope.
func (r *Reader) ListReviews(ctx context.Context, q ReviewQuery) (rows []*pb.Review, next string, at eventstore.Position, err error) {
	size, err := usualPages.size(q.PageSize)
	if err != nil {
		return nil, "", 0, err
	}
	var c condition
	if err := parseFilter(q.Filter, reviewFields, &c); err != nil {
		return nil, "", 0, err
	}
	// Points that there are none of stand after all others.
	const noPoints = 1 << 40
	order, sort := "review DESC", "0"
	switch q.OrderBy {
	case "":
	case "points":
		order, sort = fmt.Sprintf("COALESCE(points, %d), review DESC", noPoints), fmt.Sprintf("COALESCE(points, %d)", noPoints)
	default:
		return nil, "", 0, rule.Bad("order_by", rule.UnknownValue, "want points, or nothing")
	}
	bound := bind("reviews", q.Filter, q.OrderBy, q.Scope.text(), q.Person)
	text, paged, err := cursor(bound, q.PageToken)
	if err != nil {
		return nil, "", 0, err
	}
	if !q.Scope.All {
		either := []string{"closed_at IS NOT NULL"}
		if n := len(q.Scope.Path); n > 0 {
			list := names(&c, q.Scope.Path)
			either = append(either, "unit IN ("+list+")", "opened_by IN ("+list+")", holding(&c, "unit_path", q.Scope.Path[n-1]))
		}
		if q.Person != "" {
			either = append(either, holding(&c, "members", q.Person))
		}
		c.and("(" + strings.Join(either, " OR ") + ")")
	}
	if paged {
		var by, review int64
		if _, err := fmt.Sscanf(text, "%d %d", &by, &review); err != nil {
			return nil, "", 0, rule.Bad("page_token", rule.BadField, "is none that this service gave")
		}
		after, same := c.arg(by), c.arg(review)
		c.and(fmt.Sprintf("(%s > %s OR %s = %s AND review < %s)", sort, after, sort, after, same))
	}
	where := ""
	if c.sql != "" {
		where = "WHERE " + c.sql
	}
	query := "SELECT review, " + sort + `, id, no, kind, state, unit, person, opened_by, ticket, members, scored, points, from_at, to_at, opened_at, closed_at
		FROM reviews_1 ` + where + fmt.Sprintf(" ORDER BY %s LIMIT %d", order, size+1)
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, ReviewsView); err != nil {
			return err
		}
		last := ""
		for row, err := range tx.Query(query, c.args...) {
			if err != nil {
				return err
			}
			if len(rows) == size {
				next = token(bound, last)
				break
			}
			last = fmt.Sprintf("%d %d", row.Int64(1), row.Int64(0))
			m := &pb.Review{
				Name: "reviews/" + row.Text(2), No: row.Text(3), Kind: row.Text(4), State: pb.ReviewState(row.Int64(5)), Unit: row.Text(6), Person: row.Text(7),
				OpenedBy: row.Text(8), Scored: uint32(row.Int64(11)), OpenedAt: stamp(row.Int64(15)),
			}
			if ticket := row.Text(9); ticket != "" {
				m.Ticket = "tickets/" + ticket
			}
			members := unquote(row.Text(10))
			for i := 0; i+2 < len(members); i += 3 {
				m.Group = append(m.Group, &pb.Reviewer{
					Person: members[i], Kind: pb.ReviewerKind(pb.ReviewerKind_value["REVIEWER_KIND_"+members[i+1]]), Capacity: members[i+2],
				})
			}
			if !row.Null(12) {
				points := uint32(row.Int64(12))
				m.Points = &points
			}
			if !row.Null(13) {
				m.From, m.To = stamp(row.Int64(13)), stamp(row.Int64(14))
			}
			if !row.Null(16) {
				m.ClosedAt = stamp(row.Int64(16))
			}
			rows = append(rows, m)
		}
		return nil
	})
	return rows, next, at, err
}
