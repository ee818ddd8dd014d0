package view

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/chuishao/dispatch/internal/rule"
)

// A filter is AIP-160: comparisons of a field with a value by = != < <= > >= and :, joined by AND (or a space), OR, which
// binds tighter, NOT or -, and parentheses. In a text, a * at the end stands for anything; field:* asks whether it is set.

const (
	maxFilter = 2_000 // bytes
	maxTerms  = 64
	maxDepth  = 16
)

type fieldKind int

const (
	textField fieldKind = iota
	enumField
	timeField  // NULL where there is none
	limitField // ever where there is none
	boolField
	setField // sql says how a value is looked up; only = and !=
)

// field is something a filter may ask for.
type field struct {
	kind   fieldKind
	column string
	values map[string]int32 // of an enum, by name
	prefix string           // that the names of an enum may leave out
	sql    string           // of a setField, with one %s for the argument; of a boolField, what is true
}

// condition is what a filter asks for, as SQL, with what can be told of it for choosing an index.
type condition struct {
	sql  string
	args []any
	// Fields that the rows must have this value of.
	must map[string]string
}

// arg adds an argument and gives its name.
func (c *condition) arg(v any) string {
	c.args = append(c.args, v)
	return fmt.Sprintf("$%d", len(c.args))
}

func badFilter(format string, args ...any) error {
	return rule.Bad("filter", rule.BadField, format, args...)
}

type lexeme struct {
	kind byte // 'w' a word, 's' a quoted text, 'o' an operator or parenthesis, 0 the end
	text string
	gap  bool // a space stands before it
}

func lex(text string) ([]lexeme, error) {
	var list []lexeme
	gap := false
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			gap = true
			i++
			continue
		case c == '"' || c == '\'':
			var b strings.Builder
			j := i + 1
			for ; j < len(text) && text[j] != c; j++ {
				if text[j] == '\\' && j+1 < len(text) {
					j++
				}
				b.WriteByte(text[j])
			}
			if j >= len(text) {
				return nil, badFilter("a quotation has no end")
			}
			list = append(list, lexeme{'s', b.String(), gap})
			i = j + 1
		case strings.HasPrefix(text[i:], "<=") || strings.HasPrefix(text[i:], ">=") || strings.HasPrefix(text[i:], "!="):
			list = append(list, lexeme{'o', text[i : i+2], gap})
			i += 2
		case strings.IndexByte("=<>:()", c) >= 0:
			list = append(list, lexeme{'o', text[i : i+1], gap})
			i++
		case c == '-' && (i == 0 || gap || text[i-1] == '('):
			list = append(list, lexeme{'o', "-", gap})
			i++
		default:
			j := i
			for j < len(text) {
				r, n := utf8.DecodeRuneInString(text[j:])
				// A colon inside a word belongs to an instant such as 2026-01-02T03:04:05Z.
				inTime := r == ':' && j > i && j+1 < len(text) && isDigit(text[j-1]) && isDigit(text[j+1]) && isDigit(text[i])
				if !(unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-.*+/#@", r) || inTime) {
					break
				}
				j += n
			}
			if j == i {
				r, _ := utf8.DecodeRuneInString(text[i:])
				return nil, badFilter("%q cannot stand there; quote texts", r)
			}
			list = append(list, lexeme{'w', text[i:j], gap})
			i = j
		}
		gap = false
	}
	return append(list, lexeme{}), nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

type filterParser struct {
	rest   []lexeme
	fields map[string]field
	out    *condition
	terms  int
}

// parseFilter adds what the filter asks for to a condition.
func parseFilter(text string, fields map[string]field, out *condition) error {
	if out.must == nil {
		out.must = map[string]string{}
	}
	if len(text) > maxFilter {
		return badFilter("is longer than %d bytes", maxFilter)
	}
	if !utf8.ValidString(text) {
		return rule.Bad("filter", rule.InvalidUTF8, "is no valid UTF-8")
	}
	list, err := lex(text)
	if err != nil || len(list) == 1 {
		return err
	}
	p := &filterParser{rest: list, fields: fields, out: out}
	sql, err := p.expression(0, true)
	if err != nil {
		return err
	}
	if p.rest[0].kind != 0 {
		return badFilter("%q is more than a filter", p.rest[0].text)
	}
	out.and(sql)
	return nil
}

func (c *condition) and(sql string) {
	if c.sql != "" {
		c.sql += " AND "
	}
	c.sql += sql
}

func (p *filterParser) next() lexeme {
	l := p.rest[0]
	if l.kind != 0 {
		p.rest = p.rest[1:]
	}
	return l
}

func (p *filterParser) is(kind byte, text string) bool {
	return p.rest[0].kind == kind && p.rest[0].text == text
}

// expression is terms joined by AND or nothing. all: every row must match it.
func (p *filterParser) expression(depth int, all bool) (string, error) {
	if depth > maxDepth {
		return "", badFilter("has more than %d parentheses in one another", maxDepth)
	}
	var parts []string
	for {
		part, err := p.factor(depth, all)
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
		if p.is('w', "AND") {
			p.next()
			continue
		}
		if p.rest[0].kind == 0 || p.is('o', ")") {
			return strings.Join(parts, " AND "), nil
		}
		if !p.rest[0].gap {
			return "", badFilter("%q cannot stand there", p.rest[0].text)
		}
	}
}

func (p *filterParser) factor(depth int, all bool) (string, error) {
	before := len(p.out.must)
	saved := make(map[string]string, before)
	for k, v := range p.out.must {
		saved[k] = v
	}
	first, err := p.term(depth, all)
	if err != nil || !p.is('w', "OR") {
		return first, err
	}
	p.out.must = saved // what only one side of an OR asks for need not be
	parts := []string{first}
	for p.is('w', "OR") {
		p.next()
		part, err := p.term(depth, false)
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	return "(" + strings.Join(parts, " OR ") + ")", nil
}

func (p *filterParser) term(depth int, all bool) (string, error) {
	if p.is('w', "NOT") || p.is('o', "-") {
		p.next()
		if p.rest[0].kind == 'w' && p.fields[p.rest[0].text].kind == boolField && p.fields[p.rest[0].text].sql != "" {
			if l := p.rest[1]; l.kind != 'o' || l.text == ")" {
				return p.flag(p.next().text, false, all)
			}
		}
		sql, err := p.simple(depth, false)
		return "(" + sql + ") IS NOT TRUE", err
	}
	return p.simple(depth, all)
}

func (p *filterParser) simple(depth int, all bool) (string, error) {
	if p.is('o', "(") {
		p.next()
		sql, err := p.expression(depth+1, all)
		if err != nil {
			return "", err
		}
		if !p.is('o', ")") {
			return "", badFilter("a parenthesis has no end")
		}
		p.next()
		return "(" + sql + ")", nil
	}
	if p.terms++; p.terms > maxTerms {
		return "", badFilter("has more than %d comparisons", maxTerms)
	}
	name := p.next()
	f, known := p.fields[name.text]
	if name.kind != 'w' || !known {
		if name.kind == 0 {
			return "", badFilter("ends too early")
		}
		return "", badFilter("knows no field %q", name.text)
	}
	op := p.rest[0]
	if op.kind != 'o' || op.text == "(" || op.text == ")" || op.text == "-" {
		if f.kind == boolField {
			return p.flag(name.text, true, all)
		}
		return "", badFilter("%s is compared with nothing", name.text)
	}
	p.next()
	value := p.next()
	if value.kind == 'o' && value.text == "-" && p.rest[0].kind == 'w' { // a value that begins with a hyphen
		value = lexeme{'w', "-" + p.next().text, false}
	}
	if value.kind != 'w' && value.kind != 's' {
		return "", badFilter("%s is compared with nothing", name.text)
	}
	return p.compare(name.text, f, op.text, value, all)
}

func (p *filterParser) flag(name string, yes, all bool) (string, error) {
	if all {
		p.out.must[name] = fmt.Sprint(yes)
	}
	if yes {
		return p.fields[name].sql, nil
	}
	return "NOT (" + p.fields[name].sql + ")", nil
}

func (p *filterParser) compare(name string, f field, op string, value lexeme, all bool) (string, error) {
	if op == ":" && value.kind == 'w' && value.text == "*" {
		switch f.kind {
		case timeField:
			return f.column + " IS NOT NULL", nil
		case limitField:
			return fmt.Sprintf("%s <> %d", f.column, ever), nil
		case textField:
			return f.column + " <> ''", nil
		}
		return "", badFilter("%s cannot be asked whether it is set", name)
	}
	if op == ":" {
		op = "="
	}
	ordered := op != "=" && op != "!="
	sqlOp := op
	if op == "!=" {
		sqlOp = "<>"
	}
	if all && op == "=" && !(f.kind == textField && strings.HasSuffix(value.text, "*")) {
		p.out.must[name] = value.text
	}
	switch f.kind {
	case textField:
		if prefix, wild := strings.CutSuffix(value.text, "*"); wild {
			if ordered {
				return "", badFilter("%s: * goes with = and != only", name)
			}
			sql := fmt.Sprintf("(%s >= %s AND %s < %s)", f.column, p.out.arg(prefix), f.column, p.out.arg(prefix+string(utf8.MaxRune)))
			if op == "!=" {
				sql = "NOT " + sql
			}
			return sql, nil
		}
		if strings.Contains(value.text, "*") {
			return "", badFilter("%s: * may stand at the end only", name)
		}
		return f.column + " " + sqlOp + " " + p.out.arg(value.text), nil
	case enumField:
		v, ok := f.values[value.text]
		if !ok {
			v, ok = f.values[f.prefix+value.text]
		}
		if !ok || ordered {
			return "", badFilter("%s: want = or != and the name of a value, got %s %q", name, op, value.text)
		}
		return f.column + " " + sqlOp + " " + p.out.arg(int64(v)), nil
	case timeField, limitField:
		t, err := time.Parse(time.RFC3339Nano, value.text)
		if err != nil {
			return "", badFilter("%s: want an instant such as 2026-01-02T03:04:05Z, got %q", name, value.text)
		}
		sql := f.column + " " + sqlOp + " " + p.out.arg(t.UnixMicro())
		if f.kind == limitField && (op[0] == '>' || op == "!=") {
			sql = fmt.Sprintf("(%s AND %s <> %d)", sql, f.column, ever)
		}
		return sql, nil
	case boolField:
		if value.text != "true" && value.text != "false" || ordered {
			return "", badFilter("%s: want = or != and true or false", name)
		}
		return p.flag(name, (value.text == "true") == (op == "="), all)
	default: // setField
		if ordered {
			return "", badFilter("%s: want = or !=", name)
		}
		sql := fmt.Sprintf(f.sql, p.out.arg(value.text))
		if op == "!=" {
			sql = "NOT (" + sql + ")"
		}
		return sql, nil
	}
}
