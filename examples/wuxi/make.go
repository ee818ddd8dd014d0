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
		"bans.csv":      banRows(),
		"catalogue.csv": dutyRows(areas),
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
	rows := [][]string{{"code", "name", "kind", "parent", "area"}}
	add := func(code, name, kind, parent, area string) {
		rows = append(rows, []string{code, name, kind, parent, area})
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

// catalogue is 12 classes with 43 matters, each with the grade it has unless somebody says otherwise.
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
	{"身份证明", ""},
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
	{"新增台账报表", ""},
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
	{"重复入户采集数据", ""},
}

func banRows() [][]string {
	rows := [][]string{{"code", "name", "categories"}}
	for i, item := range bans {
		rows = append(rows, []string{fmt.Sprintf("B%02d", i+1), item[0], item[1]})
	}
	return rows
}
