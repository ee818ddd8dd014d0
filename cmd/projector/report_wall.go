package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// wallRow is a node's walls in a period: M29 by when matters were posted, M45 by when their tickets were closed.
type wallRow struct {
	Level          string   `json:"level"`
	Code           string   `json:"area_code"`
	Name           string   `json:"area_name"`
	Path           string   `json:"path"`
	Posts          int64    `json:"child_posts"`
	SelfSolved     int64    `json:"self_solved"`
	SelfSolvedRate *float64 `json:"self_solved_rate"`
	Lifted         int64    `json:"lifted"`
	LiftedClosed   int64    `json:"lifted_closed"`
	LiftedRate     *float64 `json:"lifted_closed_rate"`
	Refused        int64    `json:"refused"`
	Closed         int64    `json:"tickets_closed"`
	Echoed         int64    `json:"echoed"`
	EchoRate       *float64 `json:"echo_rate"`
	MeanHours      *float64 `json:"mean_hours_to_echo"`
	MedianHours    *float64 `json:"median_hours_to_echo"`
}

var wallColumns = []string{
	"level", "area_code", "area_name", "path", "child_posts", "self_solved", "self_solved_rate", "lifted", "lifted_closed", "lifted_closed_rate", "refused",
	"tickets_closed", "echoed", "echo_rate", "mean_hours_to_echo", "median_hours_to_echo",
}

// wall reads both metrics of the walls and prints them, a row a node.
func (r remote) wall(ctx context.Context, out printer, q *pb.ListMetricsRequest) error {
	byCode := map[string]*wallRow{}
	var rows []*wallRow
	for _, metric := range []string{"M29", "M45"} {
		one := proto.CloneOf(q)
		one.Metric = metric
		figures, err := r.metrics(ctx, one)
		if err != nil {
			return err
		}
		for _, f := range figures {
			row := byCode[f.Code]
			if row == nil {
				row = &wallRow{Level: f.Level, Code: f.Code, Name: f.Name, Path: f.Path}
				byCode[f.Code], rows = row, append(rows, row)
			}
			row.take(f)
		}
	}
	slices.SortFunc(rows, func(a, b *wallRow) int { return strings.Compare(a.Code, b.Code) })
	return out.wall(rows)
}

func (r *wallRow) take(f *pb.MetricFigure) {
	if f.Metric == "M45" {
		r.Closed, r.Echoed, r.EchoRate, r.MeanHours, r.MedianHours = f.GetDenominator(), f.Numerator, f.Rate, f.MeanHours, f.MedianHours
		return
	}
	r.Posts, r.SelfSolved, r.SelfSolvedRate, r.Refused = f.GetDenominator(), f.Numerator, f.Rate, f.Excluded["X1"]
	r.Lifted, r.LiftedClosed = f.Parts["lifted"], f.Parts["lifted_closed"]
	if r.Lifted > 0 {
		r.LiftedRate = proto.Float64(float64(r.LiftedClosed) / float64(r.Lifted))
	}
}

func (p printer) wall(rows []*wallRow) error {
	if p.format == "json" {
		out := json.NewEncoder(p.w)
		out.SetIndent("", "  ")
		if rows == nil {
			rows = []*wallRow{} // a list of nothing
		}
		return out.Encode(rows)
	}
	lines := make([][]string, len(rows))
	for i, r := range rows {
		lines[i] = []string{
			r.Level, r.Code, r.Name, r.Path, count(r.Posts), count(r.SelfSolved), decimal(r.SelfSolvedRate, 6), count(r.Lifted), count(r.LiftedClosed),
			decimal(r.LiftedRate, 6), count(r.Refused), count(r.Closed), count(r.Echoed), decimal(r.EchoRate, 6), decimal(r.MeanHours, 4), decimal(r.MedianHours, 4),
		}
	}
	return print[*pb.MetricFigure](p, wallColumns, lines, nil)
}
