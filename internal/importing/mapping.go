package importing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones are the same on every machine

	"go.yaml.in/yaml/v3"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// maxMapping is the size of the largest mapping, in bytes.
const maxMapping = 1 << 20

// A path or a set of dimensions is a few steps long.
const maxLevels = 32

// Mapping says what the columns of a source's files mean. It does not change once it is read.
type Mapping struct {
	source    string
	delimiter byte
	lazy      bool
	zone      *time.Location
	formats   []timeFormat

	id, reported, closed, due             column
	category, subcategory, agency, status column
	closedStatus                          map[string]bool
	onTime                                column
	onTimeYes, onTimeNo                   map[string]bool

	channel       column
	channels      map[string]pb.Channel
	channelOrElse pb.Channel

	lon, lat column
	datum    pb.Datum

	title, text, place, cause, course, reply, note []column
	name, phone, idNumber, address                 column

	levels []level
}

// Level is a level of the area tree or a dimension.
type Level struct {
	Name string
	Tree bool // a step of the path; otherwise a dimension
}

type level struct {
	Level
	column, name column
}

// column is a reference to a column of the files, with where it stands in the mapping.
type column struct{ name, at string }

func (c column) set() bool { return c.name != "" }

// Source is the name of the system that the records come from.
func (m *Mapping) Source() string { return m.source }

// Levels are the levels in the mapping's order.
func (m *Mapping) Levels() []Level {
	levels := make([]Level, len(m.levels))
	for i, l := range m.levels {
		levels[i] = l.Level
	}
	return levels
}

// LoadMapping reads a mapping from a file. An error lists every fault with line and key.
func LoadMapping(path string) (*Mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read mapping: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMapping+1))
	if err != nil {
		return nil, fmt.Errorf("read mapping: %w", err)
	}
	return ParseMapping(path, text)
}

// ParseMapping reads a mapping. File is its name in errors.
func ParseMapping(file string, text []byte) (*Mapping, error) {
	if len(text) > maxMapping {
		return nil, fmt.Errorf("%s: larger than %d bytes", file, maxMapping)
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: is empty", file)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: holds more than one document", file)
	}
	m := &Mapping{delimiter: ',', zone: time.UTC, channelOrElse: pb.Channel_CHANNEL_IMPORT}
	p := &parser{file: file}
	p.mapping(doc.Content[0], "", keys{
		"source": func(n *yaml.Node, key string) {
			m.source = p.text(n, key)
			p.check(n, key, sourceName.MatchString(m.source), "must be 1 to 32 of a-z 0-9 - _ .")
		},
		"id":          p.column(&m.id),
		"reported":    p.column(&m.reported),
		"closed":      p.column(&m.closed),
		"due":         p.column(&m.due),
		"category":    p.column(&m.category),
		"subcategory": p.column(&m.subcategory),
		"agency":      p.column(&m.agency),
		"csv": p.sub(nil, keys{
			"delimiter": func(n *yaml.Node, key string) {
				d := p.text(n, key)
				if d == "tab" {
					d = "\t"
				}
				if p.check(n, key, len(d) == 1 && d[0] < 0x7f && !strings.ContainsAny(d, "\"\r\n\x00"), "must be one ASCII character, or tab") {
					m.delimiter = d[0]
				}
			},
			"lazy_quotes": p.boolean(&m.lazy),
		}),
		"time": p.sub(nil, keys{
			"zone": func(n *yaml.Node, key string) {
				name := p.text(n, key)
				// Local would mean something else on another machine.
				zone, err := time.LoadLocation(name)
				if p.check(n, key, err == nil && name != "Local" && name != "", "%q is no time zone, such as Asia/Shanghai", name) {
					m.zone = zone
				}
			},
			"formats": func(n *yaml.Node, key string) {
				for i, name := range p.texts(n, key) {
					f, ok := formatOf(name)
					if p.check(n, fmt.Sprintf("%s[%d]", key, i), ok, "%q is no time format: it must be one of %s, or a layout with year, month and day",
						name, strings.Join(slices.Sorted(maps.Keys(namedFormats)), ", ")) {
						m.formats = append(m.formats, f)
					}
				}
				p.check(n, key, n.Kind != yaml.SequenceNode || len(n.Content) > 0, "must name a format")
			},
		}),
		"status": func(n *yaml.Node, key string) {
			if n.Kind == yaml.ScalarNode {
				p.column(&m.status)(n, key)
				return
			}
			p.mapping(n, key, keys{"column": p.column(&m.status), "closed": p.set(&m.closedStatus)}, "column")
		},
		"on_time": p.sub([]string{"column", "yes", "no"}, keys{
			"column": p.column(&m.onTime), "yes": p.set(&m.onTimeYes), "no": p.set(&m.onTimeNo),
		}),
		"channel": func(n *yaml.Node, key string) {
			if n.Kind == yaml.ScalarNode {
				m.channelOrElse = p.channel(n, key)
				return
			}
			p.mapping(n, key, keys{
				"column":  p.column(&m.channel),
				"default": func(n *yaml.Node, key string) { m.channelOrElse = p.channel(n, key) },
				"values": func(n *yaml.Node, key string) {
					m.channels = map[string]pb.Channel{}
					p.pairs(n, key, func(k string, v *yaml.Node, key string) { m.channels[k] = p.channel(v, key) })
				},
			}, "column", "values")
		},
		"position": p.sub([]string{"lon", "lat"}, keys{
			"lon": p.column(&m.lon), "lat": p.column(&m.lat),
			"datum": func(n *yaml.Node, key string) {
				var ok bool
				m.datum, ok = datums[p.text(n, key)]
				p.check(n, key, ok, "must be one of wgs84, cgcs2000, gcj02")
			},
		}),
		"particulars": p.sub(nil, keys{
			"title": p.columns(&m.title), "text": p.columns(&m.text), "place": p.columns(&m.place), "cause": p.columns(&m.cause),
			"course": p.columns(&m.course), "reply": p.columns(&m.reply), "note": p.columns(&m.note),
		}),
		"petitioner": p.sub(nil, keys{
			"name": p.column(&m.name), "phone": p.column(&m.phone), "id_number": p.column(&m.idNumber), "address": p.column(&m.address),
		}),
		"levels": func(n *yaml.Node, key string) {
			if !p.check(n, key, n.Kind == yaml.SequenceNode, "must be a list of levels") {
				return
			}
			if !p.check(n, key, len(n.Content) <= maxLevels, "must be at most %d levels", maxLevels) {
				return
			}
			for i, n := range n.Content {
				key := fmt.Sprintf("%s[%d]", key, i)
				var l level
				p.mapping(n, key, keys{
					"name": func(n *yaml.Node, key string) {
						l.Name = p.text(n, key)
						p.check(n, key, levelName.MatchString(l.Name), "must be 1 to 32 of a-z 0-9 _, a letter first")
					},
					"column":      p.column(&l.column),
					"tree":        p.boolean(&l.Tree),
					"name_column": p.column(&l.name),
				}, "name", "column", "tree")
				p.check(n, key+".name_column", l.Tree || !l.name.set(), "a dimension has its text and no other name")
				p.check(n, key+".name", !slices.ContainsFunc(m.levels, func(o level) bool { return o.Name == l.Name }), "level %q stands twice", l.Name)
				m.levels = append(m.levels, l)
			}
		},
	}, "source", "id", "reported")
	if len(m.formats) == 0 {
		m.formats = []timeFormat{namedFormats["rfc3339"]}
	}
	if err := errors.Join(p.faults...); err != nil {
		return nil, err
	}
	return m, nil
}

var (
	sourceName = regexp.MustCompile(`^[a-z0-9._-]{1,32}$`)
	levelName  = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	datums     = map[string]pb.Datum{
		"wgs84": pb.Datum_DATUM_UNSPECIFIED, "cgcs2000": pb.Datum_DATUM_CGCS2000, "gcj02": pb.Datum_DATUM_GCJ02,
	}
)

// keys are the keys that may stand in a mapping, with what each does.
type keys map[string]func(n *yaml.Node, key string)

// parser walks a document and notes every fault. Keys in faults are paths, such as levels[0].column.
type parser struct {
	file   string
	faults []error
}

func (p *parser) check(n *yaml.Node, key string, ok bool, format string, args ...any) bool {
	if !ok && len(p.faults) < 100 {
		p.faults = append(p.faults, fmt.Errorf("%s:%d: %s: %s", p.file, n.Line, cmpKey(key), fmt.Sprintf(format, args...)))
	}
	return ok
}

func cmpKey(key string) string {
	if key == "" {
		return "the document"
	}
	return key
}

func (p *parser) pairs(n *yaml.Node, key string, each func(k string, v *yaml.Node, key string)) bool {
	if !p.check(n, key, n.Kind == yaml.MappingNode, "must be keys with values") {
		return false
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		path := strings.TrimPrefix(key+"."+k.Value, ".")
		if !p.check(k, path, k.Kind == yaml.ScalarNode, "must be a plain key") || !p.check(k, path, !seen[k.Value], "stands twice") {
			continue
		}
		seen[k.Value] = true
		each(k.Value, v, path)
	}
	return true
}

func (p *parser) mapping(n *yaml.Node, key string, known keys, required ...string) {
	seen := map[string]bool{}
	ok := p.pairs(n, key, func(k string, v *yaml.Node, path string) {
		seen[k] = true
		use, ok := known[k]
		if p.check(v, path, ok, "unknown key: known here are %s", strings.Join(slices.Sorted(maps.Keys(known)), ", ")) {
			use(v, path)
		}
	})
	for _, k := range required {
		p.check(n, strings.TrimPrefix(key+"."+k, "."), !ok || seen[k], "is missing")
	}
}

func (p *parser) sub(required []string, known keys) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) { p.mapping(n, key, known, required...) }
}

// text is a scalar as it is written: a status may be called yes or 01.
func (p *parser) text(n *yaml.Node, key string) string {
	if !p.check(n, key, n.Kind == yaml.ScalarNode && n.Tag != "!!null", "must be a text") {
		return ""
	}
	return n.Value
}

func (p *parser) texts(n *yaml.Node, key string) []string {
	if n.Kind != yaml.SequenceNode {
		return []string{p.text(n, key)}
	}
	var texts []string
	for i, n := range n.Content {
		texts = append(texts, p.text(n, fmt.Sprintf("%s[%d]", key, i)))
	}
	return texts
}

func (p *parser) boolean(to *bool) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		p.check(n, key, n.Kind == yaml.ScalarNode && (n.Value == "true" || n.Value == "false"), "must be true or false")
		*to = n.Value == "true"
	}
}

func (p *parser) set(to *map[string]bool) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		*to = map[string]bool{}
		for _, t := range p.texts(n, key) {
			(*to)[t] = true
		}
	}
}

func (p *parser) column(to *column) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		*to = column{p.text(n, key), fmt.Sprintf("%s:%d: %s", p.file, n.Line, key)}
		p.check(n, key, to.set() || n.Tag == "!!null", "must name a column")
	}
}

func (p *parser) columns(to *[]column) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		if n.Kind != yaml.SequenceNode {
			*to = make([]column, 1)
			p.column(&(*to)[0])(n, key)
			return
		}
		*to = make([]column, len(n.Content))
		for i, n := range n.Content {
			p.column(&(*to)[i])(n, fmt.Sprintf("%s[%d]", key, i))
		}
	}
}

func (p *parser) channel(n *yaml.Node, key string) pb.Channel {
	name := p.text(n, key)
	c := pb.Channel_value["CHANNEL_"+strings.ToUpper(name)]
	p.check(n, key, c != 0 && name == strings.ToLower(name),
		"%q is no channel: it must be one of hotline, grid, wall, patrol, media, web, police, superior, proactive, import", name)
	return pb.Channel(c)
}
