package calendar

import "fmt"

// ReadYear reads one year's notice in the JSON that NateScarlet/holiday-cn publishes: an object with "year" and "days",
// each day of the shape {name, date, isOffDay}. Days off on a weekend, which it lists and a Year must not, are dropped.
// The dates are checked, as by New; fields of another shape are refused. The error is a *FieldError.
func ReadYear(raw []byte) (Year, error) {
	var notice struct {
		Schema string   `json:"$schema"`
		ID     string   `json:"$id"`
		Year   int      `json:"year"`
		Papers []string `json:"papers"`
		Days   []struct {
			Name     string `json:"name"`
			Date     string `json:"date"`
			IsOffDay *bool  `json:"isOffDay"`
		} `json:"days"`
	}
	if err := decodeStrictly(raw, &notice); err != nil {
		return Year{}, err
	}
	y := Year{Year: notice.Year}
	for i, d := range notice.Days {
		field := fmt.Sprintf("days[%d]", i)
		if d.IsOffDay == nil {
			return Year{}, &FieldError{field + ".isOffDay", "", "missing"}
		}
		day, err := parseDate(field+".date", d.Date, notice.Year)
		if err != nil {
			return Year{}, err
		}
		switch {
		case !*d.IsOffDay:
			y.Work = append(y.Work, d.Date)
		case !weekend(day):
			y.Off = append(y.Off, d.Date)
		}
	}
	if _, err := New(Table{Version: "check", Zone: "UTC", Years: []Year{y}}); err != nil {
		return Year{}, err
	}
	return y, nil
}
