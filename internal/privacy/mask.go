package privacy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The masks take any input. What they return is valid UTF-8 and has no seven digits in a row, of whatever script.

// MaskName keeps the first character of a name: 张三丰 becomes 张**. At most three stars follow, so that a long name does not
// show its length.
func MaskName(name string) string {
	runes := []rune(strings.TrimSpace(strings.ToValidUTF8(name, "")))
	switch {
	case len(runes) == 0:
		return ""
	case len(runes) == 1 || !unicode.IsLetter(runes[0]):
		return "*"
	}
	return string(runes[0]) + strings.Repeat("*", min(len(runes)-1, 3))
}

// MaskPhone keeps the first three and the last four digits of a mobile number, 138****5678, and the last two of any other.
func MaskPhone(phone string) string {
	digits := NormalizePhone(phone)
	if digits == "" {
		if digits = digitsOf(phone); digits == "" {
			return ""
		}
	}
	return maskDigits(strings.TrimPrefix(digits, "+"))
}

func maskDigits(digits string) string {
	n := len(digits)
	switch {
	case isMobile(digits):
		return digits[:3] + "****" + digits[n-4:]
	case n < 7 || n > 15:
		return "***"
	}
	return strings.Repeat("*", n-2) + digits[n-2:]
}

// MaskAddress keeps an address down to the street or the compound: all from the first number of a house, building or room
// on is replaced by three stars. Numbers in characters count where a unit follows (三栋), not in names (五一路).
func MaskAddress(address string) string {
	runes := []rune(MaskText(address))
	for i, r := range runes {
		if r == '*' || isDigit(r) || houseNumber(runes[i:]) {
			return string(runes[:i]) + "***"
		}
	}
	return string(runes)
}

// houseNumber tells whether the text begins with 三栋, 十二号 or A座.
func houseNumber(runes []rune) bool {
	const numerals, units = "零〇一二三四五六七八九十百两甲乙丙丁", "号號栋幢棟座室单單层層楼樓弄户戶组組门門排"
	n := 0
	for n < min(len(runes), 8) && (strings.ContainsRune(numerals, runes[n]) || latin(runes[n]) != 0) {
		n++
	}
	return n > 0 && n < len(runes) && strings.ContainsRune(units, runes[n])
}

// MaskText masks what identifies people in a free text: telephone numbers, numbers of identity cards and other long
// numbers, e-mail addresses, and number plates. Dates such as 2026-01-31 stay. Names and places cannot be found this way: a
// masked text may still tell who somebody is.
func MaskText(text string) string {
	runes := []rune(strings.ToValidUTF8(text, "\uFFFD"))
	return string(maskNumerals(maskNumbers(maskPlates(maskEmails(runes)))))
}

func maskEmails(in []rune) []rune {
	out := make([]rune, 0, len(in))
	for i := 0; i < len(in); i++ {
		if in[i] != '@' && in[i] != '＠' {
			out = append(out, in[i])
			continue
		}
		end := i + 1
		for end < len(in) && (mailRune(in[end]) || ignorable(in[end])) {
			end++
		}
		start := len(out)
		for start > 0 && (mailRune(out[start-1]) || ignorable(out[start-1])) {
			start--
		}
		if start == len(out) || end == i+1 {
			out = append(out, in[i])
			continue
		}
		out = append(out[:start], []rune("***@***")...)
		i = end - 1
	}
	return out
}

// mailRune tells whether a rune is part of an address. Chinese characters beside one are text.
func mailRune(r rune) bool {
	return latin(r) != 0 || isDigit(r) || strings.ContainsRune("._%+-．＿－*", r) ||
		unicode.IsLetter(r) && r > unicode.MaxASCII && r < 0x2E80
}

// maskPlates keeps the place of a plate: 苏B12345 becomes 苏B*****.
func maskPlates(in []rune) []rune {
	const places = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领"
	out := make([]rune, 0, len(in))
	for i := 0; i < len(in); i++ {
		out = append(out, in[i])
		if !strings.ContainsRune(places, in[i]) {
			continue
		}
		j := skip(in, i+1)
		if j == len(in) || latin(in[j]) == 0 {
			continue
		}
		letter := in[j]
		j = skip(in, j+1)
		signs, numbers := 0, 0
		for j < len(in) && signs < 6 && (latin(in[j]) != 0 || isDigit(in[j]) || signs > 3 && strings.ContainsRune("挂学警港澳领", in[j])) {
			if isDigit(in[j]) {
				numbers++
			}
			signs++
			j = skipIgnorable(in, j+1)
		}
		if signs < 5 || numbers == 0 {
			continue
		}
		out = append(out, letter)
		out = append(out, []rune("*****")...)
		i = j - 1
	}
	return out
}

// skip passes the separators that people write within one number.
func skip(in []rune, i int) int {
	for n := 0; i < len(in) && n < 3 && isSeparator(in[i]); {
		if !ignorable(in[i]) {
			n++
		}
		i++
	}
	return i
}

func skipIgnorable(in []rune, i int) int {
	for i < len(in) && ignorable(in[i]) {
		i++
	}
	return i
}

// maskNumbers masks seven digits or more, also where they are written in groups.
func maskNumbers(in []rune) []rune {
	out := make([]rune, 0, len(in))
	for i := 0; i < len(in); {
		if !isDigit(in[i]) {
			out = append(out, in[i])
			i++
			continue
		}
		if end := dateEnd(in, i); end > i {
			out = append(out, in[i:end]...)
			i = end
			continue
		}
		end := i
		var digits []byte
		for j := i; j < len(in) && isDigit(in[j]) && (j == i || isDigit(in[j-1]) || dateEnd(in, j) <= j); {
			digits = append(digits, '0'+byte(max(digitValue(in[j]), 0)))
			j++
			end = j
			j = skip(in, j)
		}
		if len(digits) < 7 {
			out = append(out, in[i:end]...)
			i = end
			continue
		}
		if len(digits) == 17 && end < len(in) && latin(in[end]) == 'X' {
			end++
		}
		if normal := NormalizePhone(string(digits)); isMobile(normal) {
			out = append(out, []rune(maskDigits(normal))...)
		} else {
			out = append(out, []rune("*******")...)
		}
		i = end
	}
	return out
}

// dateEnd returns where a date such as 2026-01-31, 2026.1.31 or 2026/1/31 that begins at i ends, or i.
func dateEnd(in []rune, i int) int {
	at := i
	number := func(least, most int) (int, bool) {
		n, start := 0, at
		for at < len(in) && '0' <= in[at] && in[at] <= '9' && at-start < 5 {
			n = n*10 + int(in[at]-'0')
			at++
		}
		return n, at-start >= least && at-start <= most && (at == len(in) || !isDigit(in[at]))
	}
	if i > 0 && isDigit(in[i-1]) {
		return i
	}
	if year, ok := number(4, 4); !ok || year < 1900 || year > 2099 {
		return i
	}
	for _, limit := range []int{12, 31} {
		if at == len(in) || !strings.ContainsRune("-./", in[at]) {
			return i
		}
		at++
		if n, ok := number(1, 2); !ok || n < 1 || n > limit {
			return i
		}
	}
	return at
}

// maskNumerals masks seven numerals or more in a row where some are written in characters: 幺三八零零….
func maskNumerals(in []rune) []rune {
	out := make([]rune, 0, len(in))
	for i := 0; i < len(in); {
		end, n := i, 0
		for j := i; j < len(in) && (numeral(in[j]) || n > 0 && ignorable(in[j])); j++ {
			if numeral(in[j]) {
				n++
				end = j + 1
			}
		}
		switch {
		case n >= 7:
			out = append(out, []rune("*******")...)
			i = end
		case n > 0:
			out = append(out, in[i:end]...)
			i = end
		default:
			out = append(out, in[i])
			i++
		}
	}
	return out
}

func numeral(r rune) bool {
	return isDigit(r) || strings.ContainsRune("零〇一二三四五六七八九幺两壹贰叁肆伍陆柒捌玖", r)
}

// NormalizePhone returns the one spelling of a telephone number by which its owner is known again: the digits alone, +
// before those of other countries. It returns "" for what is no number a person could be reached by, such as 00000000000,
// so that people without one are not taken for the same person. Of several numbers the first counts.
func NormalizePhone(phone string) string {
	for part := range strings.FieldsFuncSeq(phone, func(r rune) bool { return strings.ContainsRune("/,;、，；|／\n\r", r) }) {
		if number := normalizeOne(part); number != "" {
			return number
		}
	}
	return ""
}

func normalizeOne(phone string) string {
	var digits []byte
	abroad := false
scan:
	for _, r := range phone {
		switch v := digitValue(r); {
		case v >= 0:
			digits = append(digits, '0'+byte(v))
		case (r == '+' || r == '＋') && len(digits) == 0:
			abroad = true
		case r == '*' || r == utf8.RuneError:
			return ""
		case len(digits) >= 7 && (strings.ContainsRune("转轉#xX＃", r) || r == 'e' || r == 'E'):
			break scan // an extension follows
		}
	}
	number := string(digits)
	if !abroad && strings.HasPrefix(number, "00") {
		number, abroad = number[2:], true
	}
	if rest, ok := strings.CutPrefix(number, "86"); ok && (abroad || len(number) == 13 && isMobile(rest)) {
		number, abroad = rest, false
		if len(rest) == 10 && rest[0] != '0' || len(rest) == 11 && !isMobile(rest) && rest[0] != '0' {
			number = "0" + rest // an area code, written as from abroad
		}
	}
	if len(number) == 12 && number[0] == '0' && isMobile(number[1:]) {
		number = number[1:]
	}
	if len(number) < 7 || len(number) > 15 || strings.Count(number, number[:1]) == len(number) {
		return ""
	}
	if abroad {
		return "+" + number
	}
	return number
}

func isMobile(digits string) bool {
	return len(digits) == 11 && digits[0] == '1' && digits[1] >= '3'
}

func digitsOf(text string) string {
	var digits []byte
	for _, r := range text {
		if v := digitValue(r); v >= 0 {
			digits = append(digits, '0'+byte(v))
		}
	}
	return string(digits)
}

// isDigit also holds for ①, ² and the like, which have no place in a decimal number.
func isDigit(r rune) bool {
	if r < 0x80 {
		return '0' <= r && r <= '9'
	}
	return unicode.IsNumber(r) && !unicode.Is(unicode.Nl, r)
}

// digitValue returns the value of a decimal digit of any script, or -1.
func digitValue(r rune) int {
	if '0' <= r && r <= '9' {
		return int(r - '0')
	}
	if r < 0x80 || !unicode.IsDigit(r) {
		return -1
	}
	// Unicode keeps decimal digits in runs of ten, from zero on.
	for _, in := range unicode.Nd.R16 {
		if rune(in.Lo) <= r && r <= rune(in.Hi) {
			return int(r-rune(in.Lo)) % 10
		}
	}
	for _, in := range unicode.Nd.R32 {
		if rune(in.Lo) <= r && r <= rune(in.Hi) {
			return int(r-rune(in.Lo)) % 10
		}
	}
	return -1
}

// latin returns the upper-case ASCII letter that r is a form of, or 0.
func latin(r rune) rune {
	if 'Ａ' <= r && r <= 'ｚ' {
		r -= 'Ａ' - 'A'
	}
	switch {
	case 'A' <= r && r <= 'Z':
		return r
	case 'a' <= r && r <= 'z':
		return r - 'a' + 'A'
	}
	return 0
}

func isSeparator(r rune) bool {
	return strings.ContainsRune(" \t\u00a0\u3000-.·•()（）_~", r) || unicode.Is(unicode.Pd, r) || ignorable(r)
}

// ignorable holds for what shows nothing of its own: zero-width characters and marks.
func ignorable(r rune) bool {
	return r >= 0x80 && (unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Mn, r))
}
