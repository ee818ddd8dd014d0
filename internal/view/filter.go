package view

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.einride.tech/aip/filtering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"

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
	numberField // whole, from 0 to most
	setField    // sql says how a value is looked up; only = and !=
)

// field is something a filter may ask for.
type field struct {
	kind   fieldKind
	column string
	values map[string]int32 // of an enum, by name
	prefix string           // that the names of an enum may leave out
	most   int64            // of a numberField
	sql    string           // of a setField, with one %s for the argument; of a boolField, what is true
}

// fields are what lists of one kind may be filtered by.
type fields struct {
	byName map[string]field
	known  *filtering.Declarations
}

// declare tells the checker of filters what there is. Values always come to it as texts.
func declare(byName map[string]field) *fields {
	options := []filtering.DeclarationOption{
		filtering.DeclareStandardFunctions(),
		filtering.DeclareFunction(filtering.FunctionFuzzyAnd,
			filtering.NewFunctionOverload(filtering.FunctionFuzzyAnd+"_bool", filtering.TypeBool, filtering.TypeBool, filtering.TypeBool)),
	}
	for _, op := range []string{filtering.FunctionEquals, filtering.FunctionNotEquals, filtering.FunctionHas} {
		options = append(options, filtering.DeclareFunction(op, filtering.NewFunctionOverload(op+"_bool_string", filtering.TypeBool, filtering.TypeBool, filtering.TypeString)))
	}
	for name, f := range byName {
		of := filtering.TypeString
		switch f.kind {
		case timeField, limitField:
			of = filtering.TypeTimestamp
		case boolField:
			of = filtering.TypeBool
		}
		options = append(options, filtering.DeclareIdent(name, of))
	}
	known, err := filtering.NewDeclarations(options...)
	if err != nil {
		panic(err) // two fields of one name, which a map does not have
	}
	return &fields{byName, known}
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

func (c *condition) and(sql string) {
	if c.sql != "" {
		c.sql += " AND "
	}
	c.sql += sql
}

func badFilter(format string, args ...any) error {
	return rule.Bad("filter", rule.BadField, format, args...)
}

// misread is the refusal of what the library cannot read. The innermost cause says it in words; those around it repeat the filter.
func misread(err error) error {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	text := strings.TrimSpace(err.Error())
	text = strings.TrimLeft(text[strings.LastIndexByte(text, '\n')+1:], " ^")
	text = strings.ReplaceAll(text, "check call expr: ", "")
	return badFilter("is not understood: %s", text)
}

// parseFilter adds what the filter asks for to a condition.
func parseFilter(text string, of *fields, out *condition) error {
	if out.must == nil {
		out.must = map[string]string{}
	}
	if len(text) > maxFilter {
		return badFilter("is longer than %d bytes", maxFilter)
	}
	if !utf8.ValidString(text) {
		return rule.Bad("filter", rule.InvalidUTF8, "is no valid UTF-8")
	}
	text, err := quoteValues(text)
	if err != nil || text == "" {
		return err
	}
	var parser filtering.Parser
	parser.Init(text)
	parsed, err := parser.Parse()
	if err != nil {
		return misread(err)
	}
	var checker filtering.Checker
	checker.Init(parsed.GetExpr(), parsed.GetSourceInfo(), of.known)
	checked, err := checker.Check()
	if err != nil {
		return misread(err)
	}
	t := &translation{of.byName, out, 0}
	sql, err := t.condition(checked.GetExpr(), true)
	if err != nil {
		return err
	}
	out.and(sql)
	return nil
}

// quoteValues puts each value after a comparison in quotes, so that 0801, 2026-01-02T03:04:05Z and u-17 are the texts they
// look like, and drops spaces next to parentheses. What is nested too deeply is refused before anybody follows it down.
func quoteValues(text string) (string, error) {
	var tokens []filtering.Token
	var lexer filtering.Lexer
	lexer.Init(text)
	for depth := 0; ; {
		token, err := lexer.Lex()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", misread(err)
		}
		switch token.Type {
		case filtering.TokenTypeLeftParen:
			if depth++; depth > maxDepth {
				return "", badFilter("has more than %d parentheses in one another", maxDepth)
			}
		case filtering.TokenTypeRightParen:
			depth--
		}
		tokens = append(tokens, token)
	}
	is := func(i int, types ...filtering.TokenType) bool {
		return i >= 0 && i < len(tokens) && slices.Contains(types, tokens[i].Type)
	}
	const space, open, shut = filtering.TokenTypeWhitespace, filtering.TokenTypeLeftParen, filtering.TokenTypeRightParen
	var b strings.Builder
	for i := 0; i < len(tokens); i++ {
		if is(i, space) && (i == 0 || i == len(tokens)-1 || is(i-1, open) || is(i+1, shut)) {
			continue
		}
		b.WriteString(tokens[i].Value)
		if !tokens[i].Type.IsComparator() {
			continue
		}
		for is(i+1, space) {
			i++
		}
		from := i + 1
		for i+1 < len(tokens) && !is(i+1, space, open, shut) {
			i++
		}
		value := text[offset(tokens, from, text):offset(tokens, i+1, text)]
		if i < from || i == from && is(i, filtering.TokenTypeString) || is(i+1, open) {
			b.WriteString(value)
			continue
		}
		b.WriteByte('"')
		b.WriteString(quoting.Replace(value))
		b.WriteByte('"')
	}
	return b.String(), nil
}

var quoting = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func offset(tokens []filtering.Token, i int, text string) int {
	if i >= len(tokens) {
		return len(text)
	}
	return int(tokens[i].Position.Offset)
}

// translation makes SQL of a checked filter.
type translation struct {
	fields map[string]field
	out    *condition
	terms  int
}

// condition translates an expression. all: every row must match it.
func (t *translation) condition(e *expr.Expr, all bool) (string, error) {
	call := e.GetCallExpr()
	args := call.GetArgs()
	switch call.GetFunction() {
	case "":
		return t.flag(e.GetIdentExpr().GetName(), true, all)
	case filtering.FunctionAnd, filtering.FunctionFuzzyAnd:
		return t.both(args, " AND ", all)
	case filtering.FunctionOr:
		// What only one side of an OR asks for need not be.
		sql, err := t.both(args, " OR ", false)
		return "(" + sql + ")", err
	case filtering.FunctionNot:
		if name := args[0].GetIdentExpr().GetName(); name != "" {
			return t.flag(name, false, all)
		}
		sql, err := t.condition(args[0], false)
		return "(" + sql + ") IS NOT TRUE", err
	}
	if len(args) != 2 || args[0].GetIdentExpr() == nil || args[1].GetConstExpr() == nil {
		return "", badFilter("%q compares something else than a field with a value", call.GetFunction())
	}
	if t.terms++; t.terms > maxTerms {
		return "", badFilter("has more than %d comparisons", maxTerms)
	}
	name := args[0].GetIdentExpr().GetName()
	return t.compare(name, t.fields[name], call.GetFunction(), args[1].GetConstExpr().GetStringValue(), all)
}

func (t *translation) both(args []*expr.Expr, join string, all bool) (string, error) {
	one, err := t.condition(args[0], all)
	if err != nil {
		return "", err
	}
	other, err := t.condition(args[1], all)
	return one + join + other, err
}

func (t *translation) flag(name string, yes, all bool) (string, error) {
	f, ok := t.fields[name]
	if !ok || f.kind != boolField {
		return "", badFilter("%q is compared with nothing", name)
	}
	if t.terms++; t.terms > maxTerms {
		return "", badFilter("has more than %d comparisons", maxTerms)
	}
	if all {
		t.out.must[name] = fmt.Sprint(yes)
	}
	if yes {
		return f.sql, nil
	}
	return "NOT (" + f.sql + ")", nil
}

func (t *translation) compare(name string, f field, op, value string, all bool) (string, error) {
	if op == filtering.FunctionHas && value == "*" {
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
	if op == filtering.FunctionHas {
		op = "="
	}
	ordered := op != "=" && op != "!="
	sqlOp := op
	if op == "!=" {
		sqlOp = "<>"
	}
	if all && op == "=" && !(f.kind == textField && strings.HasSuffix(value, "*")) {
		t.out.must[name] = value
	}
	switch f.kind {
	case textField:
		if prefix, wild := strings.CutSuffix(value, "*"); wild {
			if ordered {
				return "", badFilter("%s: * goes with = and != only", name)
			}
			sql := fmt.Sprintf("(%s >= %s AND %s < %s)", f.column, t.out.arg(prefix), f.column, t.out.arg(prefix+string(utf8.MaxRune)))
			if op == "!=" {
				sql = "NOT " + sql
			}
			return sql, nil
		}
		if strings.Contains(value, "*") {
			return "", badFilter("%s: * may stand at the end only", name)
		}
		return f.column + " " + sqlOp + " " + t.out.arg(value), nil
	case enumField:
		v, ok := f.values[value]
		if !ok {
			v, ok = f.values[f.prefix+value]
		}
		if !ok || ordered {
			return "", badFilter("%s: want = or != and the name of a value, got %s %q", name, op, value)
		}
		return f.column + " " + sqlOp + " " + t.out.arg(int64(v)), nil
	case timeField, limitField:
		instant, err := time.Parse(time.RFC3339Nano, value)
		if err != nil {
			return "", badFilter("%s: want an instant such as 2026-01-02T03:04:05Z, got %q", name, value)
		}
		sql := f.column + " " + sqlOp + " " + t.out.arg(instant.UnixMicro())
		if f.kind == limitField && (op[0] == '>' || op == "!=") {
			sql = fmt.Sprintf("(%s AND %s <> %d)", sql, f.column, ever)
		}
		return sql, nil
	case boolField:
		if value != "true" && value != "false" || ordered {
			return "", badFilter("%s: want = or != and true or false", name)
		}
		return t.flag(name, (value == "true") == (op == "="), all)
	case numberField:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 || n > f.most {
			return "", badFilter("%s: want a number from 0 to %d, got %q", name, f.most, value)
		}
		return f.column + " " + sqlOp + " " + t.out.arg(n), nil
	default: // setField
		if ordered {
			return "", badFilter("%s: want = or !=", name)
		}
		sql := fmt.Sprintf(f.sql, t.out.arg(value))
		if op == "!=" {
			sql = "NOT (" + sql + ")"
		}
		return sql, nil
	}
}
