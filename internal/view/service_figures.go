package view

import (
	"strconv"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// cells are the whole counters of a figure. The first two are the numerator and the denominator, then come the exclusions and the
// parts as the figure names them.
type cells [cellMore + 1 + 3*places]int64

const (
	cellNum = iota
	cellDen
	cellMore
)

// figure is something that is counted of tickets.
type figure struct {
	// metric is the number in its name, "M05"; 0: it is read otherwise.
	metric int64
	// excluded are the codes, as in "X5", that a ticket is left out by; parts names what else is told.
	excluded []int64
	parts    []string
	// limits: the period may be decided by a limit, and so lie after the instant of evaluation.
	limits bool
	// count: there is no denominator.
	count bool
	// of posts what a ticket adds.
	of func(c *course, p *poster)
}

// The figures, by their number in rows. Others are added at the end.
const (
	figRepeats = iota + 1
	figAccurate
	figDispatchInTime
	figSigned
	figReturned
	figHandled
	figHandledInTime
	figRework
	figReopened
	figOnce
	figLonger
	figHours
	figResponse
	figSolved
	figSatisfied
	figCallback
	figCo
	figLevels
	figHolds    // added by reason, then removed by reason
	figListings // added, removed, risen above listing less ended so; then for each place of the issuer's level the first two
	figReceive  // stays, microseconds, overdue; the others likewise
	figAnalyse
	figRoute
	figSupervise
	figEvaluate
	figCleared
	figuresEnd
)

// places is how many levels M28 is told for. Those that come after are told together as the last.
const places = 15

// placeName is what M28 calls the level of a place.
func placeName(levels []string, i int) string {
	if i == places-1 {
		return "other"
	}
	return levels[i]
}

// serviceFigures is the table of figures. To add a metric, give it a number above and its line here.
var serviceFigures = [figuresEnd]figure{
	figRepeats:        {metric: 5, excluded: []int64{1, 3}, parts: []string{"merged", "repeated"}, of: repeats},
	figAccurate:       {metric: 6, of: accurate},
	figDispatchInTime: {metric: 7, excluded: []int64{1, 2}, of: dispatchedInTime},
	figSigned:         {metric: 8, excluded: []int64{10}, of: signedInTime},
	figReturned:       {metric: 9, parts: []string{"rejected"}, of: returned},
	figHandled:        {metric: 10, limits: true, excluded: []int64{1, 2, 4}, of: handled},
	figHandledInTime:  {metric: 11, limits: true, excluded: []int64{1, 2, 4, 9, 10, 11, 12}, of: handledInTime},
	figRework:         {metric: 17, of: reworked},
	figReopened:       {metric: 18, excluded: []int64{3}, of: reopenedAfter},
	figOnce:           {metric: 19, limits: true, excluded: []int64{1, 2, 3, 4}, of: closedAtOnce},
	figLonger:         {metric: 20, excluded: []int64{1, 2}, parts: []string{"suspended"}, of: longer},
	figHours:          {metric: 21, count: true, parts: []string{"microseconds"}, of: hoursTaken},
	figResponse:       {metric: 22, excluded: []int64{1, 2, 3, 5, 10, 11, 12}, parts: []string{"children", "children_contacted"}, of: responded},
	figSolved:         {metric: 23, excluded: []int64{1, 2, 3, 5, 7, 8, 11, 12}, parts: []string{"partly", "children", "children_solved"}, of: solved},
	figSatisfied:      {metric: 24, excluded: []int64{1, 2, 3, 5, 6, 7, 11, 12}, parts: append([]string{"children", "children_satisfied"}, satisfactions[:]...), of: satisfied},
	figCallback:       {metric: 26, excluded: []int64{5}, of: calledBack},
	figCo:             {metric: 27, limits: true, of: coInTime},
	figLevels:         {metric: 28, parts: []string{"own"}, of: levelsLanded}, // then for each place landed, escalated, own
	figHolds:          {of: holdsKept},
	figListings:       {of: listingsKept},
	figReceive:        {of: staysIn(pb.Stage_STAGE_RECEIVE)},
	figAnalyse:        {of: staysIn(pb.Stage_STAGE_ANALYSE)},
	figRoute:          {of: staysIn(pb.Stage_STAGE_ROUTE)},
	figSupervise:      {of: staysIn(pb.Stage_STAGE_SUPERVISE)},
	figEvaluate:       {of: staysIn(pb.Stage_STAGE_EVALUATE)},
	figCleared:        {metric: 38, limits: true, parts: raisedParts[:], of: clearedBy}, // then for each place of the issuer's level both
}

// stageFigures are the figures of stays.
var stageFigures = map[pb.Stage]byte{
	pb.Stage_STAGE_RECEIVE: figReceive, pb.Stage_STAGE_ANALYSE: figAnalyse, pb.Stage_STAGE_ROUTE: figRoute,
	pb.Stage_STAGE_SUPERVISE: figSupervise, pb.Stage_STAGE_EVALUATE: figEvaluate,
}

func (f *figure) exclusion(i int) int { return cellMore + i }
func (f *figure) part(i int) int      { return cellMore + len(f.excluded) + i }

// metricNumber is 22 for "M22".
func metricNumber(name string) (int64, bool) {
	if len(name) != 3 || name[0] != 'M' {
		return 0, false
	}
	n, err := strconv.ParseInt(name[1:], 10, 64)
	return n, err == nil && n > 0 && n < 64
}

// serviceFigure finds the figure of a metric.
func serviceFigure(name string) (byte, bool) {
	number, ok := metricNumber(name)
	for i := range serviceFigures {
		if ok && serviceFigures[i].metric == number {
			return byte(i), true
		}
	}
	return 0, false
}

// where a post counts.
type where byte

const (
	everywhere where = iota // at the ticket's places and along the unit's path
	atPlaces
	atUnits
)

// post is what a ticket adds to a cell of a figure, in the period that the instant lies in.
type post struct {
	figure, cell byte
	where        where
	at, n        int64
	unit         []int64
}

// poster collects posts. never is in no period, and what would be posted then is nothing.
type poster struct {
	number byte
	figure *figure
	where  where
	posts  []post
}

func (p *poster) add(cell int, at int64, unit []int64, n int64) {
	if at != never && n != 0 {
		p.posts = append(p.posts, post{p.number, byte(cell), p.where, at, n, unit})
	}
}

// rate adds one to the denominator and, if it is in, to the numerator.
func (p *poster) rate(at int64, unit []int64, in bool) {
	p.add(cellDen, at, unit, 1)
	if in {
		p.add(cellNum, at, unit, 1)
	}
}

// exclude adds one to those left out by a code. It says false of a code that does not bear on the figure.
func (p *poster) exclude(code byte, at int64, unit []int64) bool {
	for i, x := range p.figure.excluded {
		if x == int64(code) {
			p.add(p.figure.exclusion(i), at, unit, 1)
			return true
		}
	}
	return false
}

func (p *poster) part(name string, at int64, unit []int64, n int64) {
	for i, x := range p.figure.parts {
		if x == name {
			p.add(p.figure.part(i), at, unit, n)
		}
	}
}

// posts are all that the ticket adds, as things were at T.
func (l *life) posts(t int64) []post {
	c := l.walk(t)
	p := poster{posts: make([]post, 0, 48)}
	for i := range serviceFigures {
		p.of(c, byte(i))
	}
	return p.posts
}

// postsOf are those to one figure.
func (l *life) postsOf(figure byte, t int64) []post {
	var p poster
	p.of(l.walk(t), figure)
	return p.posts
}

// of collects what a ticket adds to a figure.
func (p *poster) of(c *course, figure byte) {
	p.number, p.figure, p.where = figure, &serviceFigures[figure], everywhere
	if p.figure.of != nil {
		p.figure.of(c, p)
	}
}

// Codes of exclusions that follow from the ticket itself.
const (
	x1 byte = 1 // declined, voided or withdrawn
	x2 byte = 2 // merged
	x3 byte = 3 // answered directly
	x4 byte = 4 // suspended
	x5 byte = 5 // nobody to ask
)

// left is the code of a ticket that has left; 0 if it has not.
func (c *course) left() byte {
	switch c.end {
	case stays:
		return 0
	case merged:
		return x2
	}
	return x1
}

// M05: merged tickets. Those of the same person again are found when the figure is read, since other tickets decide them.
func repeats(c *course, p *poster) {
	switch {
	case c.left() == x1:
		p.exclude(x1, c.accepted, c.lead)
	case c.direct:
		p.exclude(x3, c.accepted, c.lead)
	default:
		p.rate(c.accepted, c.lead, c.end == merged)
		if c.end == merged {
			p.part("merged", c.accepted, c.lead, 1)
		}
	}
}

// M06: every hop counts for the centre that dispatched.
func accurate(c *course, p *poster) {
	for i := range c.segments {
		if g := &c.segments[i]; g.what == didDispatch || g.what == didDelegate {
			p.rate(g.at, g.centre, !g.wrong)
		}
	}
}

// M07: the first dispatch.
func dispatchedInTime(c *course, p *poster) {
	if c.first < 0 {
		return
	}
	g := &c.segments[c.first]
	if !p.exclude(c.left(), g.at, g.centre) {
		p.rate(g.at, g.centre, !passed(c.dispatchBy, g.at))
	}
}

// led says whether a segment is one that a unit was given and has to sign.
func (g *segment) led() bool {
	return g.what == didDispatch || g.what == didDelegate || g.what == didEscalate
}

// M08: signed by the unit itself; one that is deemed signed was not.
func signedInTime(c *course, p *poster) {
	for i := range c.segments {
		g := &c.segments[i]
		if !g.led() {
			continue
		}
		if r := &c.rounds[g.round-1]; isOf(g.unit, r.outUnit) && p.exclude(r.out[8], g.at, g.unit) {
			continue
		}
		p.rate(g.at, g.unit, g.signed != never && !passed(g.signBy, g.signed))
	}
}

// M09: returns asked for, and of these those that were rejected.
func returned(c *course, p *poster) {
	for i := range c.segments {
		g := &c.segments[i]
		if !g.led() {
			continue
		}
		p.rate(g.at, g.unit, g.asked)
		if g.rejected {
			p.part("rejected", g.at, g.unit, 1)
		}
	}
}

// outOf says whether the ticket is left out of a figure of limits, and by which limit the period is decided.
func (c *course) outOf(p *poster, which which) (by int64, out bool) {
	by, stopped := c.due(which)
	switch {
	case by == never, p.exclude(c.left(), by, c.lead), c.direct && p.exclude(x3, by, c.lead), stopped && p.exclude(x4, by, c.lead):
		return by, true
	}
	return by, p.exclude(c.out(p.figure.metric), by, c.lead)
}

// M10: a result that was not sent back.
func handled(c *course, p *poster) {
	if by, out := c.outOf(p, byHandle); !out {
		p.rate(by, c.lead, c.turn().result != never)
	}
}

// M11: areas are told by the ticket's limit, units by their own.
func handledInTime(c *course, p *poster) {
	by, out := c.outOf(p, byHandle)
	if out {
		return
	}
	ticket, unit := true, true
	for i := range c.rounds {
		r := &c.rounds[i]
		own := r.segment
		if own == never {
			own = r.handle
		}
		ticket = ticket && r.result != never && !passed(r.handle, r.result)
		unit = unit && r.result != never && !passed(own, r.result)
	}
	p.where = atPlaces
	p.rate(by, nil, ticket)
	p.where = atUnits
	p.rate(by, c.lead, unit)
}

// M17.
func reworked(c *course, p *poster) {
	for _, v := range c.verified {
		p.rate(v.at, v.unit, v.failed)
	}
}

// M18: each closing, in its own period.
func reopenedAfter(c *course, p *poster) {
	for _, g := range c.closings {
		if !g.direct || !p.exclude(x3, g.at, g.unit) {
			p.rate(g.at, g.unit, g.reopened)
		}
	}
}

// M19: closed in the first round, and no verification failed.
func closedAtOnce(c *course, p *poster) {
	if by, out := c.outOf(p, byClose); !out {
		p.rate(by, c.lead, len(c.rounds) == 1 && c.rounds[0].closed != never && c.rounds[0].failed == 0)
	}
}

// M20: extended; suspended is told beside it.
func longer(c *course, p *poster) {
	if c.first < 0 {
		return
	}
	at := c.segments[c.first].at
	if p.exclude(c.left(), at, c.lead) {
		return
	}
	p.rate(at, c.lead, c.extended)
	if c.suspended {
		p.part("suspended", at, c.lead, 1)
	}
}

// M21: from the dispatch or reopening to the result, less what the clock stood, of each round.
func hoursTaken(c *course, p *poster) {
	if c.left() != 0 {
		return
	}
	for i := range c.rounds {
		if r := &c.rounds[i]; r.result != never && r.opened != never {
			p.add(cellNum, r.result, r.unit, 1)
			p.part("microseconds", r.result, r.unit, r.took())
		}
	}
}

// took is the time to the result, in microseconds.
func (r *turn) took() int64 { return max(0, r.result-r.opened-r.stopped) }

// effective is the last round, if its callback is settled. It is nil if nobody was asked, or the ticket is left out.
func (c *course) effective(p *poster) (*turn, *answer) {
	if len(c.rounds) == 0 {
		return nil, nil
	}
	r := c.turn()
	switch {
	case r.settled == never, p.exclude(c.left(), r.settled, c.lead), c.direct && p.exclude(x3, r.settled, c.lead):
		return nil, nil
	case r.answer == nil:
		p.exclude(x5, r.settled, c.lead)
		return nil, nil
	case p.exclude(c.out(p.figure.metric), r.settled, c.lead):
		return nil, nil
	}
	return r, r.answer
}

// asked tells the answers of petitioners of merged tickets, which are no part of the rates.
func (c *course) asked(p *poster, yes string, is func(a *answer) bool) {
	for i := range c.children {
		a := &c.children[i]
		p.part("children", a.at, c.lead, 1)
		if is(a) {
			p.part(yes, a.at, c.lead, 1)
		}
	}
}

// M22: the petitioner says so, or the contact was recorded in time.
func responded(c *course, p *poster) {
	if r, a := c.effective(p); a != nil {
		p.rate(r.settled, c.lead, a.contacted == 1 || r.contact != never && !passed(r.contactBy, r.contact))
	}
	c.asked(p, "children_contacted", func(a *answer) bool { return a.contacted == 1 })
}

func (a *answer) isSolved() bool { return a.solved == int64(pb.Solved_SOLVED_YES) }

// Satisfied is 5 very, 4 yes, or 3 basically.
func (a *answer) isSatisfied() bool { return a.satisfaction >= 3 }

// M23: partly solved is told beside it, and weighs nothing.
func solved(c *course, p *poster) {
	if r, a := c.effective(p); a != nil {
		p.rate(r.settled, c.lead, a.isSolved())
		if a.solved == int64(pb.Solved_SOLVED_PARTLY) {
			p.part("partly", r.settled, c.lead, 1)
		}
	}
	c.asked(p, "children_solved", (*answer).isSolved)
}

// satisfactions are what M24 calls the answers from 1 to 5. They are told apart, since cities differ in which of them they call satisfied.
var satisfactions = [...]string{"very_dissatisfied", "dissatisfied", "basically_satisfied", "satisfied", "very_satisfied"}

// M24: of those who said something of it.
func satisfied(c *course, p *poster) {
	if r, a := c.effective(p); a != nil && a.satisfaction > 0 {
		p.rate(r.settled, c.lead, a.isSatisfied())
		p.part(satisfactions[min(int(a.satisfaction), len(satisfactions))-1], r.settled, c.lead, 1)
	}
	c.asked(p, "children_satisfied", (*answer).isSatisfied)
}

// M26: each round that was put to callback, for the centre that dispatched.
func calledBack(c *course, p *poster) {
	var centre []int64
	if c.first >= 0 {
		centre = c.segments[c.first].centre
	}
	for i := range c.rounds {
		r := &c.rounds[i]
		if r.put == never || (c.anonymous || c.unwanted) && p.exclude(x5, r.put, centre) {
			continue
		}
		p.rate(r.put, centre, r.answer != nil)
	}
}

// M27: by the day the task is due. While the ticket's clock is stopped, or when it has left, nothing more becomes due.
func coInTime(c *course, p *poster) {
	until := ever
	if n := len(c.holds); n > 0 && c.holds[n-1].to == never {
		until = c.holds[n-1].from
	}
	if c.left() != 0 {
		until = min(until, c.endAt)
	}
	for i := range c.co {
		if t := &c.co[i]; !t.gone && (t.done != never || t.by < until) {
			p.rate(t.by, t.unit, t.done != never && t.done <= t.by)
		}
	}
}

// M28: by the level a ticket landed on first; own is closed while held there, and without a whistle. A matter that was lifted from the child wall of a
// grid landed there too, and went up.
func levelsLanded(c *course, p *poster) {
	if c.lifted > 0 {
		cell := p.figure.part(1) + 3*int(min(c.lifted, places)-1)
		p.rate(c.liftedAt, c.liftedUnit, true)
		p.add(cell, c.liftedAt, c.liftedUnit, 1)
		p.add(cell+1, c.liftedAt, c.liftedUnit, 1)
	}
	if c.first < 0 {
		return
	}
	g := &c.segments[c.first]
	if g.level == 0 {
		return
	}
	cell := p.figure.part(1) + 3*int(min(g.level, places)-1)
	p.rate(g.at, g.unit, c.raised > 0)
	p.add(cell, g.at, g.unit, 1)
	p.add(cell+1, g.at, g.unit, flag(c.raised > 0))
	if c.turn().closed != never && c.segment().level == g.level && !c.whistled {
		p.part("own", g.at, g.unit, 1)
		p.add(cell+2, g.at, g.unit, 1)
	}
}

const holdReasons = 6

// The ledger of suspensions, and M30.
func holdsKept(c *course, p *poster) {
	for i := range c.holds {
		h := &c.holds[i]
		reason := int(min(max(h.reason, 1), holdReasons)) - 1
		p.add(reason, h.from, h.unit, 1)
		p.add(holdReasons+reason, h.to, h.unit, 1)
	}
}

const (
	cellListed = iota
	cellCleared
	cellAccount
	cellIssuers // added and removed, for each place of the issuer's level
)

// The ledger of listings.
func listingsKept(c *course, p *poster) {
	for i := range c.listings {
		g := &c.listings[i]
		p.add(cellListed, g.from, g.unit, 1)
		p.add(cellCleared, g.to, g.unit, 1)
		if p.add(cellAccount, g.account, g.unit, 1); g.account != never {
			p.add(cellAccount, g.to, g.unit, -1)
		}
		cell := cellIssuers + 2*g.place()
		p.add(cell, g.from, g.unit, 1)
		p.add(cell+1, g.to, g.unit, 1)
	}
}

// place is that of the issuer's level among the cells of a figure, from 0; levels without a place of their own stand at the last.
func (g *listing) place() int {
	if g.level < 1 || g.level > places {
		return places - 1
	}
	return int(g.level) - 1
}

// raisedParts are what M38 calls the supervisions that were raised to each level.
var raisedParts = [...]string{"raised_1", "raised_2", "raised_3", "raised_4"}

// M38: listings that were to be cleared, and of these those that are. Supervisions that were raised are told beside.
func clearedBy(c *course, p *poster) {
	for i := range c.raises {
		if r := &c.raises[i]; r.level >= 1 && r.level <= int64(len(raisedParts)) {
			p.part(raisedParts[r.level-1], r.at, r.unit, 1)
		}
	}
	for i := range c.listings {
		g := &c.listings[i]
		cell := p.figure.part(len(raisedParts)) + 2*g.place()
		p.rate(g.by, g.unit, g.to != never)
		p.add(cell, g.by, g.unit, 1)
		if g.to != never {
			p.add(cell+1, g.by, g.unit, 1)
		}
	}
}

const (
	cellStays = iota
	cellMicros
	cellOverdue
)

func staysIn(stage pb.Stage) func(c *course, p *poster) {
	return func(c *course, p *poster) {
		for _, s := range c.stays {
			if s.stage != stage {
				continue
			}
			p.add(cellStays, s.to, s.unit, 1)
			p.add(cellMicros, s.to, s.unit, s.to-s.from)
			p.add(cellOverdue, s.to, s.unit, flag(s.overdue))
		}
	}
}
