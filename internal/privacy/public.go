package privacy

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// MaskPublic masks what must not stand where everybody reads: what MaskText masks, and the numbers of doors and rooms, such as 3栋201室,
// 2单元501, 3-2-201 and 春笋中路12号. A building alone (3栋) stays, and so do names: who publishes words must see to those.
func MaskPublic(text string) string {
	text = MaskText(text)
	for _, d := range doors {
		var out strings.Builder
		last := 0
		for _, at := range d.pattern.FindAllStringSubmatchIndex(text, -1) {
			if next, _ := utf8.DecodeRuneInString(text[at[1]:]); strings.ContainsRune(counted, next) || d.but != nil && d.but(text, at) {
				continue
			}
			out.WriteString(text[last:at[2]] + "***")
			last = at[3]
		}
		text = out.String() + text[last:]
	}
	return text
}

// counted are units of what is counted, not of doors: 5号楼2025年, 3栋120户.
const counted = "年月日时点分天周户人名米元个件次盏台辆只条处块平度级万千小０１２３４５６７８９0123456789"

const (
	numeral1 = `[0-9０-９零〇一二三四五六七八九十百]`
	building = `(?:号楼|號樓|栋|棟|幢|座|单元|單元|号门|门栋|楼道)`
	between  = `[ \x{3000}\-－—–_/#＃，,]*`
)

// doors are the ways in which a door is written; the first group is what is masked.
var doors = []struct {
	pattern *regexp.Regexp
	but     func(text string, at []int) bool // says that it is none after all; may be nil
}{
	{regexp.MustCompile(`((?:` + numeral1 + `{1,4}|[A-Za-z])[ \x{3000}]*` + building + between + `(?:` + numeral1 + `{1,3}[ \x{3000}]*(?:单元|單元|梯|层|樓|楼)` + between + `)*` +
		numeral1 + `{3,5}[ \x{3000}]*(?:室|房|号|户室)?)`), nil},
	{regexp.MustCompile(`(` + numeral1 + `{2,5}[A-Za-z]?[ \x{3000}]*(?:室|号房|號房))`), nil},
	{regexp.MustCompile(`(?:路|街|巷|弄|村|里|道|坊)[ \x{3000}]*(` + numeral1 + `{1,5}(?:[\-－之]` + numeral1 + `{1,3})?[ \x{3000}]*(?:号|號))`), nil},
	{regexp.MustCompile(`(?:^|[^0-9\-－.])([0-9]{1,3}(?:[\-－][0-9]{1,2})?[\-－][0-9]{3,4})`), notARoom},
}

// notARoom says that the last two digits of a number such as 50-100 are those of no room on a floor.
func notARoom(text string, at []int) bool {
	room := text[at[3]-2 : at[3]]
	return room == "00" || room > "49"
}
