package privacy_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/chuishao/dispatch/internal/privacy"
)

func TestMasks(t *testing.T) {
	t.Parallel()
	for _, group := range []struct {
		name  string
		mask  func(string) string
		cases [][2]string
	}{
		{"MaskName", privacy.MaskName, [][2]string{
			{"", ""}, {"  ", ""}, {"张", "*"}, {"张三", "张*"}, {"张三丰", "张**"}, {" 张三丰 ", "张**"},
			{"买买提·艾力江", "买***"}, {"John Smith", "J***"}, {"13812345678", "*"}, {"\xff张三", "张*"},
		}},
		{"MaskPhone", privacy.MaskPhone, [][2]string{
			{"", ""}, {"13812345678", "138****5678"}, {"+86 138-1234-5678", "138****5678"}, {"１３８１２３４５６７８", "138****5678"},
			{"0510-86861234", "**********34"}, {"86861234", "******34"}, {"110", "***"}, {"320281199001011234", "***"}, {"无", ""},
			{"13812345678/13912345678", "138****5678"},
		}},
		{"MaskAddress", privacy.MaskAddress, [][2]string{
			{"", ""}, {"江阴市澄江街道人民路88号3栋502室", "江阴市澄江街道人民路***"}, {"朝阳区三里屯路五一小区", "朝阳区三里屯路五一小区"},
			{"人民路小区三栋二单元", "人民路小区***"}, {"阳光花园A座", "阳光花园***"}, {"周庄镇十二组李家", "周庄镇***"}, {"502室", "***"},
			{"人民路，电话13812345678", "人民路，电话***"}, {"人民路①号", "人民路***"}, {"人民路８８号", "人民路***"},
		}},
		{"MaskText", privacy.MaskText, [][2]string{
			{"", ""}, {"路灯坏了3天，2026-01-31 10:30报修", "路灯坏了3天，2026-01-31 10:30报修"},
			{"请打13812345678找我", "请打138****5678找我"}, {"请打138 1234 5678", "请打138****5678"},
			{"请打+86-138-1234-5678。", "请打+138****5678。"}, {"138\u200b1234\u200b5678", "138****5678"}, {"１３８１２３４５６７８", "138****5678"},
			{"身份证320281199001011234", "身份证*******"}, {"身份证32028119900101123X，", "身份证*******，"}, {"3202 8119 9001 0112 34", "*******"},
			{"幺三八一二三四五六七八", "*******"}, {"一三八1234五六七八", "*******"}, {"统一13812345678", "统一138****5678"},
			{"写信a.b+c@example.com吧", "写信***@***吧"}, {"写信ａｂ＠example.com吧", "写信***@***吧"}, {"人@路", "人@路"},
			{"苏B12345乱停", "苏B*****乱停"}, {"苏B·D12345乱停", "苏B*****乱停"}, {"苏b·1234学", "苏b*****"}, {"京 A 12345", "京A*****"}, {"新ABCDEF", "新ABCDEF"},
			{"电话8686-1234", "电话*******"}, {"2026-01-31 13812345678", "2026-01-31 138****5678"}, {"坏\xff了", "坏\uFFFD了"},
			{"١٢٣٤٥٦٧٨", "*******"}, {"13812345678、13912345678", "138****5678、139****5678"}, {"13812345678 13912345678", "*******"},
		}},
		{"NormalizePhone", privacy.NormalizePhone, [][2]string{
			{"", ""}, {"13812345678", "13812345678"}, {"+86 138-1234-5678", "13812345678"}, {"008613812345678", "13812345678"},
			{"8613812345678", "13812345678"}, {"013812345678", "13812345678"}, {"１３８１２３４５６７８", "13812345678"},
			{"(0510) 8686 1234", "051086861234"}, {"+86 510 86861234", "051086861234"}, {"+86 10 12345678", "01012345678"},
			{"0510-86861234转801", "051086861234"}, {"+49 30 123456", "+4930123456"}, {"004930123456", "+4930123456"},
			{"00000000000", ""}, {"11111111111", ""}, {"未知", ""}, {"110", ""}, {"138****5678", ""}, {"无/13812345678", "13812345678"},
		}},
	} {
		for _, c := range group.cases {
			if got := group.mask(c[0]); got != c[1] {
				t.Errorf("%s(%q) = %q, want %q", group.name, c[0], got, c[1])
			}
		}
	}
}

func TestMaskingTwiceIsMaskingOnce(t *testing.T) {
	t.Parallel()
	for _, text := range seeds {
		once := privacy.MaskText(text)
		if twice := privacy.MaskText(once); twice != once {
			t.Errorf("MaskText(%q) = %q, want it unchanged", once, twice)
		}
	}
}

var seeds = []string{
	"", "张三丰", "13812345678", "苏B·D12345", "人民路88号3栋502室", "a@b.c", "幺三八一二三四五六七八", "2026-01-31",
	"2026-01-3113812345678", "138\u200b1234\u200b5678", "\xff\xfe1234567", "1.2.3.4.5.6.7.8.9", "1½2½3½4½5½6½7", "①②③④⑤⑥⑦⑧", "京A@1234567.com",
	"19999-1-1-1234567", "1234567@", "@1234567", "123.4567@a", "八1234567", "1900/1/1/1234567", "𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖",
}

// FuzzMasks holds for any input: no panic, valid UTF-8, no seven digits in a row, of whatever script and whatever
// invisible signs stand between them.
func FuzzMasks(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for name, mask := range map[string]func(string) string{
			"MaskName": privacy.MaskName, "MaskPhone": privacy.MaskPhone, "MaskAddress": privacy.MaskAddress, "MaskText": privacy.MaskText, "MaskPublic": privacy.MaskPublic,
		} {
			out := mask(in)
			if !utf8.ValidString(out) {
				t.Errorf("%s(%q) = %q, want valid UTF-8", name, in, out)
			}
			if longest := longestNumber(out); longest >= 7 {
				t.Errorf("%s(%q) = %q, has %d digits in a row", name, in, out, longest)
			}
		}
		number := privacy.NormalizePhone(in)
		if strings.Trim(number, "+0123456789") != "" || len(number) > 16 {
			t.Errorf("NormalizePhone(%q) = %q, want digits", in, number)
		}
		if again := privacy.NormalizePhone(number); number != "" && again != number {
			t.Errorf("NormalizePhone(%q) = %q, want it unchanged", number, again)
		}
	})
}

func longestNumber(s string) int {
	longest, run := 0, 0
	for _, r := range s {
		switch {
		case unicode.IsDigit(r):
			run++
			longest = max(longest, run)
		case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Mn, r):
		default:
			run = 0
		}
	}
	return longest
}
