//go:build ignore

// This program makes the registry of this directory from a list of Wuxi's divisions, a CSV file, plain or with gzip, with
// the columns code, name, level, parent_code:
//
//	go run examples/wuxi/make.go DIVISIONS DIRECTORY
//
// The same list gives the same files, byte for byte.
package main

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// grids is how many grids are invented, spread evenly over the communities: as many as Wuxi says it has branches in grids
// and compounds.
const grids = 5861

const sample = "（示例）"

type area struct{ code, name, level, parent string }

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: go run make.go DIVISIONS DIRECTORY")
	}
	areas, err := divisions(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	areas = append(areas, invented(areas)...)
	for name, rows := range map[string][][]string{
		"levels.csv": levels, "areas.csv": areaRows(areas), "units.csv": unitRows(areas), "categories.csv": categoryRows(),
		"bans.csv":       banRows(),
		"call_items.csv": callRows(),
		"catalogue.csv":  dutyRows(areas),
	} {
		if err := write(filepath.Join(os.Args[2], name), rows); err != nil {
			log.Fatal(err)
		}
	}
}

func divisions(name string) ([]area, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(rows) == 0 || !slices.Equal(rows[0], []string{"code", "name", "level", "parent_code"}) {
		return nil, fmt.Errorf("read %s: want the columns code, name, level, parent_code", name)
	}
	var areas []area
	for _, row := range rows[1:] {
		areas = append(areas, area{row[0], row[1], row[2], row[3]})
	}
	return areas, nil
}

func invented(areas []area) []area {
	var communities []area
	for _, a := range areas {
		if a.level == "community" {
			communities = append(communities, a)
		}
	}
	var all []area
	for i, c := range communities {
		for k := range grids*(i+1)/len(communities) - grids*i/len(communities) {
			name := fmt.Sprintf("%s第%d网格%s", place(c.name), k+1, sample)
			all = append(all, area{fmt.Sprintf("%s%03d", c.code, k+1), name, "grid", c.code})
		}
	}
	return all
}

// place is a committee's name without the committee.
func place(name string) string {
	for _, s := range []string{"居民委员会", "居委会"} {
		if stem, ok := strings.CutSuffix(name, s); ok {
			return stem
		}
	}
	for _, s := range []string{"村民委员会", "村委会"} {
		if stem, ok := strings.CutSuffix(name, s); ok {
			return strings.TrimSuffix(stem, "村") + "村"
		}
	}
	return name
}

var levels = [][]string{
	{"name", "rank", "display_name"},
	{"city", "1", "市"},
	{"district", "2", "区（县级市）"},
	{"street", "3", "街道（镇、园区）"},
	{"community", "4", "社区（村）"},
	{"grid", "5", "网格"},
}

func areaRows(areas []area) [][]string {
	rows := [][]string{{"code", "name", "level", "parent_code"}}
	for _, a := range areas {
		rows = append(rows, []string{a.code, a.name, a.level, a.parent})
	}
	return rows
}

type body struct{ code, name, kind string }

// departments are those of the city and of each district.
var departments = []body{
	{"CG", "城市管理局", "department"},
	{"ZJ", "住房和城乡建设局", "department"},
	{"JT", "交通运输局", "department"},
	{"SC", "市场监督管理局", "department"},
	{"HJ", "生态环境局", "department"},
	{"GA", "公安局", "department"},
	{"XF", "消防救援队伍", "department"},
	{"YJ", "应急管理局", "department"},
	{"SL", "水利局", "department"},
	{"SZ", "市政和园林局", "department"},
	{"ZR", "自然资源和规划局", "department"},
	{"MZ", "民政局", "department"},
	{"RS", "人力资源和社会保障局", "department"},
	{"WJ", "卫生健康委员会", "department"},
	{"JY", "教育局", "department"},
	{"BB", "编办", "staffing_office"},
	{"SF", "司法局", "justice_office"},
	{"KH", "考核办", "office"},
	{"SJ", "审计局", "office"},
}

var utilities = []body{
	{"GS", "供水公司", "utility"},
	{"GD", "供电公司", "utility"},
	{"RQ", "燃气公司", "utility"},
	{"TX", "通信公司", "utility"},
}

func unitRows(areas []area) [][]string {
	rows := [][]string{{"code", "name", "kind", "parent", "area", "line"}}
	add := func(code, name, kind, parent, area string) {
		// Departments, offices and utilities with the same suffix do the same for the city and for each district.
		_, line, _ := strings.Cut(code, "-")
		if kind == "command_centre" {
			line = ""
		}
		rows = append(rows, []string{code, name, kind, parent, area, line})
	}
	for _, a := range areas {
		// The government of an area has the area's code. Those of the city and the districts stand below the command centre.
		centre := a.code + "-ZH"
		switch a.level {
		case "city", "district":
			above, name := "", "城运中心"
			if a.level == "district" {
				above = a.parent + "-ZH"
			}
			add(centre, a.name+name, "command_centre", above, a.code)
			add(a.code, a.name+"人民政府", "area", centre, a.code)
			for _, d := range departments {
				add(a.code+"-"+d.code, a.name+d.name, d.kind, a.code, a.code)
			}
			if a.level == "city" {
				for _, u := range utilities {
					add(a.code+"-"+u.code, a.name+u.name+sample, u.kind, a.code, a.code)
				}
			}
		case "street":
			name := a.name + "管委会"
			if strings.HasSuffix(a.name, "街道") {
				name = a.name + "办事处"
			} else if strings.HasSuffix(a.name, "镇") {
				name = a.name + "人民政府"
			}
			add(a.code, name, "area", a.parent, a.code)
		default:
			add(a.code, a.name, "area", a.parent, a.code)
		}
	}
	return rows
}

// catalogue is 13 classes with 46 matters, each with the grade it has unless somebody says otherwise. The last class is what departments would have
// communities do for them.
var catalogue = []struct {
	name  string
	items [][2]string
}{
	{"市容环境", [][2]string{{"暴露垃圾、渣土", "G2"}, {"占道经营", "G2"}, {"违规广告", "G2"}, {"油烟扰民、露天烧烤", "G2"}}},
	{"违法建设", [][2]string{{"新增违建", "G2"}, {"存量违建", "G3"}, {"擅改房屋结构", "G2"}, {"侵占公共空间", "G2"}}},
	{"公共设施", [][2]string{{"道路破损、塌陷", "G2"}, {"路灯故障", "G2"}, {"井盖缺损", "G2"}, {"排水不畅、积水", "G2"}, {"树木倒伏", "G1"}}},
	{"公用事业", [][2]string{{"停水", "G1"}, {"停电、电线垂落", "G1"}, {"燃气隐患", "G0"}, {"通信杆线", "G1"}}},
	{"消防", [][2]string{{"占用消防通道", "G2"}, {"消火栓无水、损坏", "G2"}, {"电动自行车违规充电", "G2"}}},
	{"安全应急", [][2]string{{"危房、危墙", "G0"}, {"洪涝、滑坡", "G0"}, {"事故现场", "G0"}, {"危险化学品", "G0"}}},
	{"市场监管", [][2]string{{"无证经营", "G2"}, {"食品安全", "G2"}, {"消费纠纷", "G2"}, {"电梯、特种设备", "G2"}}},
	{"生态环境", [][2]string{{"噪声扰民", "G2"}, {"扬尘", "G2"}, {"污水、黑臭水体", "G2"}}},
	{"交通", [][2]string{{"违法停车", "G2"}, {"交通设施", "G2"}, {"停车难", "G3"}}},
	{"住房物业", [][2]string{{"物业撤离", "G3"}, {"业主委员会", "G3"}, {"加装电梯、扶手", "G3"}, {"渗漏维修", "G2"}}},
	{"秩序纠纷", [][2]string{{"群租", "G2"}, {"邻里纠纷", "G2"}, {"走失、紧急求助", "G0"}}},
	{"民生保障", [][2]string{{"困难救助", "G2"}, {"老年人、残疾人照料", "G2"}}},
	{"部门任务", [][2]string{{"入户采集数据", "G2"}, {"填报台账报表", "G2"}, {"开具身份证明", "G2"}}},
}

// incidents are the matters whose results need photos from before and after. The others are left as they are, neither said to be a
// component nor an incident.
var incidents = map[string]bool{"树木倒伏": true}

// selfSolvable are the matters that a grid worker may solve on the wall of the grid.
var selfSolvable = map[string]bool{"暴露垃圾、渣土": true, "占道经营": true, "邻里纠纷": true}

func categoryRows() [][]string {
	rows := [][]string{{"code", "name", "parent", "grade", "object", "self_solvable"}}
	for i, class := range catalogue {
		code := fmt.Sprintf("%02d", i+1)
		rows = append(rows, []string{code, class.name, "", "", "", ""})
		for k, item := range class.items {
			object, solvable := "", ""
			if incidents[item[0]] {
				object = "incident"
			}
			if selfSolvable[item[0]] {
				solvable = "yes"
			}
			rows = append(rows, []string{fmt.Sprintf("%s%02d", code, k+1), item[0], code, item[1], object, solvable})
		}
	}
	return rows
}

// duties say who leads matters of a class or of a category. A unit is the suffix of one of the district's, or of the city's after
// "city"; no unit is the street where the matter lies.
var duties = []struct {
	category, duty, lead string
	co                   []string
}{
	{"01", "territorial", "", nil},
	{"0103", "functional", "CG", nil},
	{"0104", "functional", "HJ", nil},
	{"0104", "enforcement", "CG", nil},
	{"02", "functional", "ZR", nil},
	{"02", "enforcement", "CG", nil},
	{"0203", "functional", "ZJ", nil},
	{"03", "functional", "SZ", nil},
	{"0304", "functional", "SL", []string{"SZ"}},
	{"0401", "utility", "city GS", nil},
	{"0402", "utility", "city GD", nil},
	{"0403", "utility", "city RQ", nil},
	{"0404", "utility", "city TX", nil},
	{"05", "functional", "XF", nil},
	{"06", "functional", "YJ", nil},
	{"0602", "functional", "SL", []string{"YJ"}},
	{"07", "functional", "SC", nil},
	{"08", "functional", "HJ", nil},
	{"0802", "functional", "ZJ", []string{"HJ"}},
	{"09", "functional", "JT", nil},
	{"0901", "functional", "GA", nil},
	{"10", "functional", "ZJ", nil},
	{"1001", "territorial", "", nil},
	{"1102", "territorial", "", nil},
	{"1101", "functional", "ZJ", []string{"GA"}},
	{"1101", "enforcement", "GA", nil},
	{"1103", "functional", "GA", nil},
	{"12", "functional", "MZ", nil},
	{"13", "territorial", "", nil},
}

// dutyRows is the dispatch catalogue: the same in each district. Whatever nobody takes falls back to the district's department
// of urban management.
func dutyRows(areas []area) [][]string {
	rows := [][]string{{"category", "area", "lead", "co", "fallback", "duty"}}
	for _, a := range areas {
		if a.level != "district" {
			continue
		}
		unit := func(suffix string) string {
			if s, ok := strings.CutPrefix(suffix, "city "); ok {
				return a.parent + "-" + s
			}
			if suffix == "" {
				return ""
			}
			return a.code + "-" + suffix
		}
		for _, d := range duties {
			var co []string
			for _, suffix := range d.co {
				co = append(co, unit(suffix))
			}
			rows = append(rows, []string{d.category, a.code, unit(d.lead), strings.Join(co, " "), unit("CG"), d.duty})
		}
	}
	return rows
}

func write(name string, rows [][]string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := csv.NewWriter(f)
	if err := w.WriteAll(rows); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Close()
}

// bans is the list of what must not be pushed into communities: 42 items, each with the categories it bans, of which most have
// none here.
var bans = [][2]string{
	{"行政处罚", ""},
	{"违法建设执法", "0202"},
	{"食品药品执法", ""},
	{"安全生产执法", "0604"},
	{"消防执法", ""},
	{"环境保护执法", ""},
	{"行政强制措施", ""},
	{"行政许可审查", ""},
	{"招商引资", ""},
	{"协税护税", ""},
	{"企业产值统计", ""},
	{"签订拆迁协议", ""},
	{"募捐指标", ""},
	{"财政收入指标", ""},
	{"亲属关系证明", ""},
	{"身份证明", "1303"},
	{"户籍变更证明", ""},
	{"婚姻状况证明", ""},
	{"出生证明", ""},
	{"健在证明", ""},
	{"死亡原因证明", ""},
	{"患病证明", ""},
	{"残疾证明", ""},
	{"生育证明", ""},
	{"就业状况证明", ""},
	{"无犯罪记录证明", ""},
	{"新增挂牌", ""},
	{"新增台账报表", "1302"},
	{"重复应用程序和数据录入", ""},
	{"公众号关注指标", ""},
	{"评比竞赛", ""},
	{"单项检查", ""},
	{"责任状", ""},
	{"单项工作汇报会", ""},
	{"代收费用", ""},
	{"报刊征订", ""},
	{"代销保险", ""},
	{"强制捐款", ""},
	{"辖区外值守", ""},
	{"借调人员", ""},
	{"盖章担保", ""},
	{"重复入户采集数据", "1301"},
}

func banRows() [][]string {
	rows := [][]string{{"code", "name", "categories"}}
	for i, item := range bans {
		rows = append(rows, []string{fmt.Sprintf("B%02d", i+1), item[0], item[1]})
	}
	return rows
}

// calls is the list of the matters that start the linkage of levels: 12 classes with 42 items. Of each: its name; the suffixes of the city's
// units that lead and help; when a call may be started; within what they report in and the matter is resolved, where the profile's limits do
// not hold; its category.
var calls = []struct {
	name  string
	items [][7]string
}{
	{"市容环境", [][7]string{
		{"暴露垃圾、渣土", "CG", "HJ", "街道清理后二十四小时内再次堆积，或无法查明责任人", "", "3 WD", "0101"},
		{"占道经营", "CG", "SC GA", "劝离三次仍返回，或有人抗拒", "", "", "0102"},
		{"违规广告", "CG", "SC", "责任人拒不拆除，或涉及高空设施", "", "", "0103"},
		{"油烟扰民、露天烧烤", "HJ", "CG SC", "同一商户一月内被投诉三次以上", "", "", "0104"},
	}},
	{"违法建设", [][7]string{
		{"新增违建", "CG", "ZR ZJ", "发现在建违法建设，街道制止无效", "1 WD", "5 WD", "0201"},
		{"存量违建", "CG", "ZR GA", "已认定的违法建设，当事人逾期不拆", "", "", "0202"},
		{"擅改房屋结构", "ZJ", "CG", "涉及承重结构，街道无权认定", "1 WD", "", "0203"},
		{"侵占公共空间", "CG", "ZJ XF", "占用楼道、绿地等公共空间，劝改无效", "", "", "0204"},
	}},
	{"公共设施", [][7]string{
		{"道路破损、塌陷", "SZ", "JT GA", "出现塌陷或影响通行", "4 NH", "3 WD", "0301"},
		{"路灯故障", "SZ", "GD", "连片不亮，或三日内未修复", "", "3 WD", "0302"},
		{"井盖缺损", "SZ", "GS TX", "权属单位不明，或有坠落危险", "4 NH", "2 WD", "0303"},
		{"排水不畅、积水", "SL", "SZ", "积水影响出行，街道自有设备无法排除", "4 NH", "3 WD", "0304"},
	}},
	{"公用事业", [][7]string{
		{"停水", "GS", "SZ", "未经通知停水超过四小时", "2 NH", "24 NH", "0401"},
		{"停电、电线垂落", "GD", "YJ", "停电超过四小时，或电线垂落", "1 NH", "24 NH", "0402"},
		{"燃气隐患", "RQ", "XF YJ", "闻到燃气气味，或管线被挖断", "30 min", "12 NH", "0403"},
		{"通信杆线", "TX", "SZ GA", "杆线倾倒、垂落，影响通行", "4 NH", "3 WD", "0404"},
	}},
	{"消防", [][7]string{
		{"占用消防通道", "XF", "GA CG", "劝离无效，或反复占用", "1 WD", "", "0501"},
		{"消火栓无水、损坏", "XF", "GS", "消火栓无水或损坏", "1 WD", "3 WD", "0502"},
		{"电动自行车违规充电", "XF", "ZJ GD", "楼道内反复充电，物业劝阻无效", "", "", "0503"},
	}},
	{"安全应急", [][7]string{
		{"危房、危墙", "ZJ", "YJ ZR", "出现明显裂缝、倾斜或有倒塌危险", "1 NH", "24 NH", "0601"},
		{"洪涝、滑坡", "YJ", "SL ZR", "出现险情，需要转移人员", "30 min", "24 NH", "0602"},
		{"事故现场", "YJ", "GA XF", "发生事故，街道难以控制现场", "30 min", "24 NH", "0603"},
		{"危险化学品", "YJ", "XF HJ", "发现危险化学品泄漏或违规存放", "30 min", "24 NH", "0604"},
	}},
	{"市场监管", [][7]string{
		{"无证经营", "SC", "GA CG", "街道巡查发现，当事人拒不停业", "", "", "0701"},
		{"食品安全", "SC", "WJ", "有人因同一来源食品身体不适", "2 NH", "3 WD", "0702"},
		{"消费纠纷", "SC", "SF", "涉及十人以上，或调解两次不成", "", "", "0703"},
		{"电梯、特种设备", "SC", "ZJ XF", "电梯停运超过一日，或有人被困", "2 NH", "3 WD", "0704"},
	}},
	{"生态环境", [][7]string{
		{"噪声扰民", "HJ", "GA CG", "夜间施工或经营噪声，劝阻无效", "", "", "0801"},
		{"扬尘", "ZJ", "HJ CG", "工地或运输车辆扬尘，责任人拒不整改", "", "", "0802"},
		{"污水、黑臭水体", "HJ", "SL SZ", "发现偷排，或水体发黑发臭", "1 WD", "", "0803"},
	}},
	{"交通", [][7]string{
		{"违法停车", "GA", "CG", "影响通行或消防，反复发生", "", "", "0901"},
		{"交通设施", "JT", "GA SZ", "信号灯、标志损坏，影响安全", "1 WD", "3 WD", "0902"},
		{"停车难", "JT", "ZR GA", "涉及增设车位或单行，需多部门会商", "", "", "0903"},
	}},
	{"住房物业", [][7]string{
		{"物业撤离", "ZJ", "MZ GS", "物业弃管，小区水电、保洁中断", "1 WD", "", "1001"},
		{"业主委员会", "ZJ", "MZ SF", "换届受阻，或发生冲突", "", "", "1002"},
		{"加装电梯、扶手", "ZJ", "ZR SC", "居民意见不一，或管线需要迁移", "", "", "1003"},
		{"渗漏维修", "ZJ", "", "维修资金无法启用，责任不清", "", "", "1004"},
	}},
	{"秩序纠纷", [][7]string{
		{"群租", "ZJ", "GA XF", "人均面积不足，或私拉电线、隔断出租", "", "", "1101"},
		{"邻里纠纷", "SF", "GA", "社区调解两次不成，或可能激化", "", "", "1102"},
		{"走失、紧急求助", "GA", "MZ WJ", "老人、儿童走失，或有人求救", "30 min", "24 NH", "1103"},
	}},
	{"民生保障", [][7]string{
		{"困难救助", "MZ", "RS WJ", "突发困难，超出街道救助权限", "1 WD", "5 WD", "1201"},
		{"老年人、残疾人照料", "MZ", "WJ", "无人照料，需要安置或送医", "1 WD", "5 WD", "1202"},
	}},
}

// callRows is the call-item list. Whatever nobody takes falls back to the city's department of urban management.
func callRows() [][]string {
	const city = "320200000000-"
	rows := [][]string{{"code", "name", "class", "class_name", "lead", "co", "fallback", "start_standard", "report_in", "resolve", "category"}}
	for i, class := range calls {
		of := fmt.Sprintf("%02d", i+1)
		for k, item := range class.items {
			var co []string
			for _, suffix := range strings.Fields(item[2]) {
				co = append(co, city+suffix)
			}
			rows = append(rows, []string{
				fmt.Sprintf("%s%02d", of, k+1), item[0], of, class.name, city + item[1], strings.Join(co, " "), city + "CG", item[3], item[4], item[5], item[6],
			})
		}
	}
	return rows
}
