package privacy_test

import (
	"testing"

	"github.com/chuishao/dispatch/internal/privacy"
)

func TestPublicWordsShowNoDoorAndNoNumberOfAPerson(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"3栋201室漏水已修好":           "***漏水已修好",
		"3栋2单元501已处理":           "***已处理",
		"三栋二〇一室":                "***",
		"A座1203住户":              "***住户",
		"5号楼 302":               "***",
		"住在201室的老人":             "住在***的老人",
		"3-2-201门前":             "***门前",
		"12-1502":               "***",
		"春笋中路12号门口":             "春笋中路***门口",
		"请联系13800000001":        "请联系138****0001",
		"写信到 wang@example.cn":   "写信到 ***@***",
		"卡号6222021234567890123": "卡号*******",
		"证号32020519800101001X":  "证号*******",
	} {
		if got := privacy.MaskPublic(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{
		"", "3栋楼下的垃圾已清运", "5号楼2025年已加装路灯", "3栋120户已通气", "更换路灯12盏，3月12号完成", "每天9-12点巡查", "两侧50-100米内已清理",
		"2026-01-31前完成", "第3网格已处理", "活动室已开放", "三个工作日内修复", "五一路已修复",
	} {
		if got := privacy.MaskPublic(text); got != text {
			t.Errorf("%q: got %q, want it left", text, got)
		}
	}
}
