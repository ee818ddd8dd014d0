package view

import (
	"encoding/binary"
	"slices"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// node is something that figures are told for: a code at a level.
type node struct {
	id          int64
	level, code string
	// Of a node of the area tree, as the latest event named it. parent is 0 for a root.
	tree       bool
	name, path string
	parent     int64
}

// label is the node's name: what does not lie in the tree is called by its text.
func (n *node) label() string {
	if n.tree {
		return n.name
	}
	return n.code
}

// finest is the level whose nodes have nothing below them.
const finest = "grid"

// direct is the level of the nodes that count the tickets which lie at an area itself and in none of its children.
const DirectLevel = "direct"

// nodes gives nodes their ids: 1, 2, … in the order in which events first mention them. With tx it knows what is in the
// database; without, only what it was told.
type nodes struct {
	tx      *viewdb.Tx
	table   string // where they are kept
	byKey   map[[2]string]*node
	byID    map[int64]*node
	last    int64 // the largest id given; 0: not yet asked
	changed map[int64]*node
	// Paths that say nothing new of their nodes.
	paths map[string][]int64
	key   []byte
}

func newNodes(tx *viewdb.Tx, table string) *nodes {
	return &nodes{tx: tx, table: table, byKey: map[[2]string]*node{}, byID: map[int64]*node{}, changed: map[int64]*node{}, paths: map[string][]int64{}}
}

// nodeTable makes a table of nodes. tree: it lies in the area tree, with a name and a parent.
func nodeTable(name string) string {
	return "CREATE TABLE " + name + ` (
	id     BIGINT PRIMARY KEY,
	level  TEXT NOT NULL,
	code   TEXT NOT NULL,
	tree   BIGINT NOT NULL,
	name   TEXT NOT NULL,
	path   TEXT NOT NULL,
	parent BIGINT NOT NULL,
	UNIQUE (level, code)
)`
}

const nodeColumns = "id, level, code, tree, name, path, parent"

func readNode(row viewdb.Row) *node {
	return &node{row.Int64(0), row.Text(1), row.Text(2), row.Bool(3), row.Text(4), row.Text(5), row.Int64(6)}
}

func (m *nodes) get(level, code string) (*node, error) {
	if n := m.byKey[[2]string{level, code}]; n != nil {
		return n, nil
	}
	if m.tx != nil {
		for row, err := range m.tx.Query("SELECT "+nodeColumns+" FROM "+m.table+" WHERE level = $1 AND code = $2", level, code) {
			if err != nil {
				return nil, err
			}
			n := readNode(row)
			m.keep(n)
			return n, nil
		}
		if m.last == 0 {
			for row, err := range m.tx.Query("SELECT MAX(id) FROM " + m.table) {
				if err != nil {
					return nil, err
				}
				m.last = row.Int64(0)
			}
		}
	}
	m.last++
	n := &node{id: m.last, level: level, code: code}
	m.keep(n)
	m.changed[n.id] = n
	return n, nil
}

func (m *nodes) keep(n *node) { m.byKey[[2]string{n.level, n.code}], m.byID[n.id] = n, n }

// put appends a node's id.
func (m *nodes) put(ids *[]int64, level, code string) error {
	n, err := m.get(level, code)
	if err == nil {
		*ids = append(*ids, n.id)
	}
	return err
}

func (m *nodes) set(id *int64, level, code string) error {
	n, err := m.get(level, code)
	if err == nil {
		*id = n.id
	}
	return err
}

// path gives the ids of an area path, city first, and that of the direct node of its end, and notes names and parents. The ids are not to be changed.
func (m *nodes) path(path []*pb.AreaNode) ([]int64, error) {
	m.key = m.key[:0]
	for _, step := range path {
		m.key = appendText(appendText(appendText(m.key, step.Level), step.Code), step.Name)
	}
	if ids := m.paths[string(m.key)]; ids != nil {
		return ids, nil
	}
	ids := make([]int64, 0, len(path)+1)
	var parent int64
	var names strings.Builder
	for i, step := range path {
		n, err := m.get(step.Level, step.Code)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			names.WriteByte('/')
		}
		names.WriteString(step.Name)
		if !n.tree || n.name != step.Name || n.parent != parent || n.path != names.String() {
			n.tree, n.name, n.path, n.parent = true, step.Name, names.String(), parent
			m.changed[n.id] = n
			clear(m.paths) // others may say otherwise
		}
		ids = append(ids, n.id)
		parent = n.id
	}
	leaf := path[len(path)-1]
	if leaf.Level != finest {
		if err := m.put(&ids, DirectLevel, leaf.Code); err != nil {
			return nil, err
		}
	}
	if len(m.paths) >= maxPaths {
		clear(m.paths)
	}
	m.paths[string(m.key)] = slices.Clip(ids)
	return ids, nil
}

// appendText appends a text so that no two lists of texts come to the same bytes.
func appendText(buf []byte, s string) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(s))), s...)
}

// save writes what is new or was changed.
func (m *nodes) save() error {
	ids := make([]int64, 0, len(m.changed))
	for id := range m.changed {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		n := m.changed[id]
		err := m.tx.Put(`INSERT INTO `+m.table+` (id, level, code, tree, name, path, parent) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (id) DO UPDATE SET tree = excluded.tree, name = excluded.name, path = excluded.path, parent = excluded.parent`,
			n.id, n.level, n.code, n.tree, n.name, n.path, n.parent)
		if err != nil {
			return err
		}
	}
	clear(m.changed)
	return nil
}
