package importing_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chuishao/dispatch/internal/importing"
)

const least = "source: s\nid: id\nreported: at\n"

func TestAFaultOfAMappingNamesFileLineAndKey(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                  "m.yaml: is empty",
		"source: [":                         "m.yaml: line 1:",
		"- a":                               "m.yaml:1: the document: must be keys with values",
		"id: id\nreported: at\n":            "m.yaml:1: source: is missing",
		least + "colour: red\n":             "m.yaml:4: colour: unknown key: known here are agency,",
		least + "id: other\n":               "m.yaml:4: id: stands twice",
		least + "closed:\n":                 "m.yaml:4: closed: must be a text",
		least + "closed: ''\n":              "m.yaml:4: closed: must name a column",
		least + "closed: {column: c}\n":     "m.yaml:4: closed: must be a text",
		least + "due: &a x\ncategory: *a\n": "m.yaml:5: category: must be a text",
		"source: New York\nid: id\nreported: at\n":                                                "m.yaml:1: source: must be 1 to 32 of",
		least + "time:\n  zone: America/Nowhere\n":                                                `m.yaml:5: time.zone: "America/Nowhere" is no time zone`,
		least + "time: {zone: Local}\n":                                                           "m.yaml:4: time.zone:",
		least + "time: {formats: [rfc3339, '15:04']}\n":                                           `m.yaml:4: time.formats[1]: "15:04" is no time format`,
		least + "time: {formats: []}\n":                                                           "m.yaml:4: time.formats: must name a format",
		least + "csv: {delimiter: '||'}\n":                                                        "m.yaml:4: csv.delimiter: must be one ASCII character",
		least + "csv: {delimiter: '\"'}\n":                                                        "m.yaml:4: csv.delimiter: must be one ASCII character",
		least + "csv: {lazy_quotes: maybe}\n":                                                     "m.yaml:4: csv.lazy_quotes: must be true or false",
		least + "channel: fax\n":                                                                  `m.yaml:4: channel: "fax" is no channel`,
		least + "channel: unspecified\n":                                                          `m.yaml:4: channel: "unspecified" is no channel`,
		least + "channel:\n  column: c\n  values:\n    Phone: telephone\n":                        `m.yaml:7: channel.values.Phone: "telephone" is no channel`,
		least + "channel: {column: c}\n":                                                          "m.yaml:4: channel.values: is missing",
		least + "position: {lon: x}\n":                                                            "m.yaml:4: position.lat: is missing",
		least + "position: {lon: x, lat: y, datum: mars}\n":                                       "m.yaml:4: position.datum: must be one of",
		least + "levels: ward\n":                                                                  "m.yaml:4: levels: must be a list",
		least + "levels:\n  - {name: ward, colum: w, tree: false}\n":                              "m.yaml:5: levels[0].colum: unknown key",
		least + "levels:\n  - {name: ward, column: w}\n":                                          "m.yaml:5: levels[0].tree: is missing",
		least + "levels:\n  - {name: Ward 1, column: w, tree: true}\n":                            "m.yaml:5: levels[0].name: must be",
		least + "levels:\n  - {name: w, column: w, tree: no}\n":                                   "m.yaml:5: levels[0].tree: must be true or false",
		least + "levels:\n  - {name: w, column: w, tree: false, name_column: n}":                  "levels[0].name_column: a dimension has",
		least + "levels:\n- {name: w, column: w, tree: true}\n- {name: w, column: v, tree: true}": `levels[1].name: level "w" stands twice`,
		least + "---\n" + least:                                                                   "m.yaml: holds more than one document",
		strings.Repeat("#", 1<<20+1):                                                              "m.yaml: larger than",
	} {
		_, err := importing.ParseMapping("m.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", text[:min(len(text), 200)], err, want)
		}
	}
}

func TestAllFaultsOfAMappingAreListedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := importing.ParseMapping("m.yaml", []byte("source: S\nid: id\ncolour: red\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("got %v, want three faults", err)
	}
}

func TestTheMappingInTheManualReads(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var yaml strings.Builder
	for line := range strings.Lines(string(text)) {
		if code, ok := strings.CutPrefix(line, "//\t"); ok {
			yaml.WriteString(code)
		}
	}
	m, err := importing.ParseMapping("doc.go", []byte(yaml.String()))
	if err != nil {
		t.Fatal(err)
	}
	if levels := m.Levels(); m.Source() != "nyc311" || len(levels) != 2 || !levels[0].Tree || levels[1].Tree {
		t.Errorf("got source %s, levels %v", m.Source(), levels)
	}
}

func FuzzParseMapping(f *testing.F) {
	for _, name := range []string{"nyc311", "nyccouncil", "boston311"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "examples", name, "mapping.yaml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(least + "? [a]\n: b\n"))
	f.Add([]byte("%YAML 1.1\n---\n"))
	f.Add([]byte("&a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := importing.ParseMapping("m.yaml", text)
		if (m == nil) == (err == nil) {
			t.Errorf("got %v and %v", m, err)
		}
	})
}
