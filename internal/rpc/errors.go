package rpc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/rule"
)

// Domain is the domain of every ErrorInfo.
const Domain = "chuishao.v1"

// Reasons that no rule gives: what can go wrong before and after the rules. Like those of package rule they are part
// of the contract.
const (
	CredentialsMissing  rule.Reason = "CREDENTIALS_MISSING"
	CredentialsUnknown  rule.Reason = "CREDENTIALS_UNKNOWN"
	CredentialsNotValid rule.Reason = "CREDENTIALS_NOT_VALID_NOW"
	UnknownMethod       rule.Reason = "UNKNOWN_METHOD"
	MessageTooLarge     rule.Reason = "MESSAGE_TOO_LARGE"
	VersionConflict     rule.Reason = "VERSION_CONFLICT"
	LimitExceeded       rule.Reason = "LIMIT_EXCEEDED"
	OutcomeUnknown      rule.Reason = "OUTCOME_UNKNOWN"
	ViewBehind          rule.Reason = "VIEW_BEHIND"
	ServerStopping      rule.Reason = "SERVER_STOPPING"
	Busy                rule.Reason = "BUSY"
	DeadlineExceeded    rule.Reason = "DEADLINE_EXCEEDED"
	Cancelled           rule.Reason = "CANCELLED"
	TransportFault      rule.Reason = "TRANSPORT_FAULT"
	InternalFault       rule.Reason = "INTERNAL_FAULT"
)

// text is what a reason means on the wire: its code, and what a person is told.
type text struct {
	code   codes.Code
	zh, en string
}

// texts is the one table of reasons. A test walks it beside rule.Reasons.
var texts = map[rule.Reason]text{
	rule.MissingField:        {codes.InvalidArgument, "缺少必填字段", "A required field is missing"},
	rule.BadField:            {codes.InvalidArgument, "字段内容不正确", "A field is not as it must be"},
	rule.FieldTooLong:        {codes.InvalidArgument, "字段内容过长", "A field is too long"},
	rule.TooMany:             {codes.InvalidArgument, "条目过多", "There are too many entries"},
	rule.UnknownValue:        {codes.InvalidArgument, "字段取值未知", "A field has an unknown value"},
	rule.InvalidUTF8:         {codes.InvalidArgument, "文本不是有效的 UTF-8 编码", "A text is not valid UTF-8"},
	rule.InvalidName:         {codes.InvalidArgument, "资源名称格式不正确", "A resource name is malformed"},
	rule.InvalidRequestID:    {codes.InvalidArgument, "请求编号须为 1 至 128 个可打印 ASCII 字符", "A request id has 1 to 128 printable ASCII characters"},
	rule.InvalidETag:         {codes.InvalidArgument, "版本标识格式不正确", "An etag is malformed"},
	rule.TimeOutOfRange:      {codes.InvalidArgument, "时间超出允许范围", "A time is out of range"},
	rule.OccurredInFuture:    {codes.InvalidArgument, "发生时间晚于当前时间", "What happened cannot lie in the future"},
	rule.OccurredTooLongAgo:  {codes.InvalidArgument, "发生时间早于 72 小时之前", "What happened lies more than 72 hours back"},
	rule.OccurredBeforeCause: {codes.InvalidArgument, "发生时间早于其前置事项", "What happened lies before what it follows"},
	rule.MalformedMessage:    {codes.InvalidArgument, "报文无法解析", "The message cannot be read"},

	rule.RoleNotAllowed:     {codes.PermissionDenied, "您的角色无权执行此操作", "Your roles do not allow this"},
	rule.OutOfScope:         {codes.PermissionDenied, "超出您的管辖范围", "This is outside your unit's scope"},
	rule.SeparationOfDuties: {codes.PermissionDenied, "须由其他人员或单位办理（职责分离）", "Somebody else must do this: duties are separated"},
	rule.SecondPersonNeeded: {codes.PermissionDenied, "须由第二人确认", "A second person must confirm this"},

	rule.NotFound:           {codes.NotFound, "未找到", "Not found"},
	rule.AlreadyExists:      {codes.AlreadyExists, "已存在", "It is there already"},
	rule.WrongState:         {codes.FailedPrecondition, "当前状态不允许此操作", "The present state does not allow this"},
	rule.RequestIDReused:    {codes.AlreadyExists, "请求编号已用于内容不同的请求", "The request id was used for another request"},
	rule.UnknownArea:        {codes.InvalidArgument, "未知的区域编码", "The area is not known"},
	rule.UnknownUnit:        {codes.InvalidArgument, "未知的单位编码", "The unit is not known"},
	rule.UnknownCategory:    {codes.InvalidArgument, "未知的事项分类", "The category is not known"},
	rule.LeadComplainedOf:   {codes.FailedPrecondition, "被投诉单位及其下属单位不得主办", "The unit complained of, and units below it, may not lead"},
	rule.FiveElementsNeeded: {codes.FailedPrecondition, "受理五要素不完整", "The five elements of an intake are not complete"},
	rule.ContactNeeded:      {codes.FailedPrecondition, "须先联系诉求人", "The petitioner must be contacted first"},
	rule.WhistleOpen:        {codes.FailedPrecondition, "尚有未销的哨", "A whistle is still open"},
	rule.CallbackNeeded:     {codes.FailedPrecondition, "须先完成回访", "The callback must be settled first"},
	rule.LimitLengthened:    {codes.FailedPrecondition, "不得延长已定的时限", "A limit cannot be lengthened this way"},
	rule.AppealLapsed:       {codes.FailedPrecondition, "已超过申诉期限", "The limit for an appeal has passed"},
	rule.NothingProposed:    {codes.FailedPrecondition, "没有待确认的提议", "Nothing is proposed that could be decided on"},
	rule.AlreadyProposed:    {codes.FailedPrecondition, "已有待确认的提议", "It is proposed already"},
	rule.NotParticipant:     {codes.FailedPrecondition, "该单位不是参与单位", "The unit is no participant"},
	rule.AlreadyDone:        {codes.FailedPrecondition, "此操作已完成", "It is done already"},
	rule.TasksOpen:          {codes.FailedPrecondition, "尚有未完成的任务", "Tasks are still open"},
	rule.RatingsMissing:     {codes.FailedPrecondition, "尚有单位未评价", "A rating is still missing"},
	rule.UnknownCallItem:    {codes.InvalidArgument, "呼应启动事项清单中没有该事项", "The call-item list has no such item"},
	rule.TicketNotInHand:    {codes.FailedPrecondition, "工单不在处置中", "The ticket is not in hand"},
	rule.RecordChanged:      {codes.FailedPrecondition, "该记录已以不同内容导入", "The record was imported with other content"},
	rule.RegistryNotLoaded:  {codes.FailedPrecondition, "基础数据尚未载入", "No registry is loaded"},
	rule.RegistryInvalid:    {codes.InvalidArgument, "基础数据有误", "The registry has faults"},
	rule.SubjectErased:      {codes.FailedPrecondition, "该诉求人的个人信息已清除", "The petitioner's data were erased"},
	rule.DeadlineOutOfRange: {codes.FailedPrecondition, "无法计算时限", "A limit cannot be computed"},

	rule.NotReturnable:        {codes.FailedPrecondition, "此工单不得退单", "The ticket cannot be returned"},
	rule.ReturnLapsed:         {codes.FailedPrecondition, "已超过退单期限", "The limit for a return has passed"},
	rule.RulingNeeded:         {codes.FailedPrecondition, "须先会商裁定", "Whose duty it is must be ruled on first"},
	rule.RuledOut:             {codes.FailedPrecondition, "该单位已被裁定不承办", "It was ruled that the unit does not lead"},
	rule.BannedInCommunities:  {codes.FailedPrecondition, "该事项在社区禁入清单内，不得下派社区", "The ban list keeps such matters out of communities"},
	rule.AdmissionNotInForce:  {codes.FailedPrecondition, "所援引的准入许可不存在或不在有效期内", "The admission that is named does not exist or is not in force"},
	rule.AdmissionTooSoon:     {codes.FailedPrecondition, "准入应当至少提前三十个工作日申请", "An admission is applied for at least thirty working days ahead"},
	rule.UnknownBanItem:       {codes.InvalidArgument, "社区禁入清单中没有该事项", "The ban list has no such item"},
	rule.NotNextLevel:         {codes.FailedPrecondition, "只能逐级上报或下派", "A ticket moves one level at a time"},
	rule.MustAccept:           {codes.FailedPrecondition, "已退回过一次，须予受理", "It was sent back once and must be taken now"},
	rule.AppealNeeded:         {codes.FailedPrecondition, "诉求人尚未申诉", "The petitioner has not appealed"},
	rule.HasDuplicates:        {codes.FailedPrecondition, "该工单已有并入的工单，须先解除并件", "Other tickets are merged into this one and must be unmerged first"},
	rule.ConfidentialIntoOpen: {codes.FailedPrecondition, "保密工单不得并入公开工单", "A confidential ticket is not merged into an open one"},
	rule.LimitPassed:          {codes.FailedPrecondition, "时限已过，不得事后办理", "The limit has passed, and nothing is given in retrospect"},
	rule.ExtensionTooLong:     {codes.FailedPrecondition, "延期超过允许的长度", "The extension is longer than allowed"},
	rule.ExtensionsUsed:       {codes.FailedPrecondition, "本轮延期次数已用完", "The limit cannot be extended any more in this round"},
	rule.ReviewTooLate:        {codes.InvalidArgument, "挂账复核时间超过允许的期限", "The review of a suspension lies too far ahead"},
	rule.SuspensionNotAllowed: {codes.FailedPrecondition, "该级别事项不得挂账", "Matters of this grade are never suspended"},
	rule.CalendarInvalid:      {codes.InvalidArgument, "工作日历有误", "The calendar year has a fault"},
	rule.ProfileInvalid:       {codes.InvalidArgument, "时限方案有误", "The deadline profile has a fault"},

	rule.ListingOpen:         {codes.FailedPrecondition, "挂牌督办事项尚未销号", "The problem is listed and not cleared"},
	rule.NotSupervised:       {codes.FailedPrecondition, "该工单未处于相应的督办级别", "Supervision of the ticket is not at the level that this needs"},
	rule.RectificationNeeded: {codes.FailedPrecondition, "缺少整改方案或整改完成的回复", "The plan, or word that it was carried out, is missing"},
	rule.ReopeningsUsed:      {codes.FailedPrecondition, "系统自动重办次数已用完，须由人工决定", "The system has reopened the ticket as often as it may"},
	rule.PhotosNeeded:        {codes.FailedPrecondition, "须提供带位置和时间的处置前、处置后照片", "Photos before and after are needed, each with position and time"},
	rule.ExclusionLapsed:     {codes.FailedPrecondition, "申请剔除的期限已过或无此权利", "The right to ask for exclusion has lapsed, or there is none"},
	rule.RightsRunning:       {codes.FailedPrecondition, "申诉或申请剔除的期限未过，不能归档", "The right to appeal or to ask for exclusion still runs"},
	rule.NeedsRedaction:      {codes.InvalidArgument, "公开文字含有个人信息，须先删去", "The public words hold what identifies a person and must be redacted first"},
	rule.EchoNeeded:          {codes.FailedPrecondition, "问题墙工单须先公布结果回音", "A wall ticket needs its result echo first"},
	rule.NotOnWall:           {codes.FailedPrecondition, "该工单不是问题墙工单", "The ticket is on no problem wall"},
	rule.NotSelfSolvable:     {codes.FailedPrecondition, "该类事项不在网格员能力范围内", "A grid worker may not solve matters of this category"},
	rule.NothingToDraw:       {codes.FailedPrecondition, "该区域该时段没有可抽查的办结工单", "There is no closed ticket to draw from"},

	CredentialsMissing:  {codes.Unauthenticated, "缺少身份凭证", "Credentials are missing"},
	CredentialsUnknown:  {codes.Unauthenticated, "身份凭证无效", "The credentials are not known"},
	CredentialsNotValid: {codes.Unauthenticated, "身份凭证不在有效期内", "The credentials are not valid now"},
	UnknownMethod:       {codes.Unimplemented, "没有此接口", "There is no such method"},
	MessageTooLarge:     {codes.ResourceExhausted, "报文过大", "The message is too large"},
	VersionConflict:     {codes.Aborted, "数据已被他人更新，请重新读取后再试", "It has changed meanwhile: read it again"},
	LimitExceeded:       {codes.InvalidArgument, "请求内容超出存储上限", "The request is more than can be recorded at once"},
	OutcomeUnknown:      {codes.Unavailable, "服务暂不可用，结果未知，请用同一请求编号重试", "The service is unavailable for the moment and the outcome is unknown: send the same request id again"},
	ViewBehind:          {codes.Unavailable, "查询视图尚未跟上，请稍后重试", "The view has not come that far: try again"},
	ServerStopping:      {codes.Unavailable, "服务即将停止，请重新连接", "The server is about to stop: call again"},
	Busy:                {codes.ResourceExhausted, "同类任务正在进行，请稍后重试", "One of these is under way already: try again later"},
	DeadlineExceeded:    {codes.DeadlineExceeded, "超时，结果未知，请用同一请求编号重试", "Time is up and the outcome is unknown: send the same request id again"},
	Cancelled:           {codes.Canceled, "调用已取消", "The call was cancelled"},
	TransportFault:      {codes.Unknown, "通信错误", "The call broke"},
	InternalFault:       {codes.Internal, "内部错误，请联系管理员并提供请求编号", "Something is wrong on this side: report the request id"},
}

// retryAfter is how long a caller should wait before it tries again what may pass.
const retryAfter = 500 * time.Millisecond

// retryBusy is the same for what takes minutes.
const retryBusy = 30 * time.Second

// statusOf is the one mapping of errors to what a caller gets. Every status has an ErrorInfo. A fault is logged, once and whole;
// what a rule refused is not.
func statusOf(ctx context.Context, log *slog.Logger, requestID string, err error) *status.Status {
	var (
		refusal  *rule.Refusal
		conflict *eventstore.ConflictError
		limit    *eventstore.LimitError
	)
	switch {
	case errors.As(err, &refusal):
		return refused(ctx, refusal)
	case errors.As(err, &conflict):
		return build(ctx, VersionConflict, conflict.Error(), map[string]string{
			"stream": conflict.Stream, "after": fmt.Sprint(conflict.After), "actual": fmt.Sprint(conflict.Actual),
		})
	case errors.As(err, &limit):
		return build(ctx, LimitExceeded, limit.Error(), map[string]string{"field": limit.Field, "limit": limit.Limit},
			&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{
				Field: limit.Field, Description: limit.Limit, Reason: string(LimitExceeded),
			}}})
	case errors.Is(err, context.DeadlineExceeded):
		return build(ctx, DeadlineExceeded, "time is up; the outcome of a command is unknown: send the same request id again", nil)
	case errors.Is(err, context.Canceled):
		return build(ctx, Cancelled, "the call was cancelled; the outcome of a command is unknown: send the same request id again", nil)
	case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, privacy.ErrUnavailable):
		log.WarnContext(ctx, "store unavailable", "request_id", requestID, "error", err)
		return build(ctx, OutcomeUnknown, "unavailable for the moment; the outcome is unknown: send the same request id again",
			nil, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	case errors.Is(err, privacy.ErrErased):
		return refused(ctx, &rule.Refusal{Reason: rule.SubjectErased, Message: "the petitioner's data were erased"})
	}
	if st, ok := status.FromError(err); ok {
		return foreign(ctx, st)
	}
	if requestID == "" {
		requestID = "call-" + rand.Text()
	}
	log.ErrorContext(ctx, "fault", "request_id", requestID, "error", err)
	return build(ctx, InternalFault, "internal fault; report the request id", nil, &errdetails.RequestInfo{RequestId: requestID})
}

func refused(ctx context.Context, r *rule.Refusal) *status.Status {
	meta := map[string]string{"detail": r.Message}
	if r.Field != "" {
		meta["field"] = r.Field
	}
	if r.DecidedBy != "" {
		meta["decided_by"] = r.DecidedBy
	}
	code := texts[r.Reason].code
	var details []protoadapt.MessageV1
	if r.Field != "" {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{
			Field: r.Field, Description: r.Message, Reason: string(r.Reason),
		}}})
	}
	switch code {
	case codes.ResourceExhausted:
		if r.Reason == Busy {
			details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryBusy)})
		}
	case codes.FailedPrecondition:
		details = append(details, &errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{
			Type: string(r.Reason), Subject: r.DecidedBy, Description: r.Message,
		}}})
	case codes.NotFound:
		details = append(details, &errdetails.ResourceInfo{ResourceType: resourceType(ctx), ResourceName: resourceName(ctx), Description: r.Message})
	case codes.Unavailable:
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	}
	return build(ctx, r.Reason, r.Message, meta, details...)
}

// foreign is a status that was made below us, by grpc itself: it keeps its code and gets what every error has.
func foreign(ctx context.Context, st *status.Status) *status.Status {
	for _, d := range st.Details() {
		if _, ok := d.(*errdetails.ErrorInfo); ok {
			return st
		}
	}
	reason := TransportFault
	switch st.Code() {
	case codes.DeadlineExceeded:
		reason = DeadlineExceeded
	case codes.Canceled:
		reason = Cancelled
	case codes.ResourceExhausted:
		reason = MessageTooLarge
	case codes.Unimplemented:
		reason = UnknownMethod
	case codes.NotFound:
		reason = rule.NotFound
	}
	return withDetails(ctx, status.New(st.Code(), st.Message()), reason, nil)
}

// build makes the status of a reason. A reason without a text is a fault of ours that a test finds first.
func build(ctx context.Context, reason rule.Reason, message string, meta map[string]string, more ...protoadapt.MessageV1) *status.Status {
	t, ok := texts[reason]
	if !ok {
		t.code = codes.FailedPrecondition
	}
	return withDetails(ctx, status.New(t.code, message), reason, meta, more...)
}

func withDetails(ctx context.Context, st *status.Status, reason rule.Reason, meta map[string]string, more ...protoadapt.MessageV1) *status.Status {
	locale, said := localized(ctx, reason, meta["field"])
	details := append([]protoadapt.MessageV1{
		&errdetails.ErrorInfo{Reason: string(reason), Domain: Domain, Metadata: meta},
		&errdetails.LocalizedMessage{Locale: locale, Message: said},
	}, more...)
	full, err := st.WithDetails(details...)
	if err != nil {
		return st
	}
	return full
}

// localized is what a person is told, in Chinese unless the call asks for English before Chinese.
func localized(ctx context.Context, reason rule.Reason, field string) (locale, message string) {
	t := texts[reason]
	if english(ctx) {
		if field != "" {
			return "en", t.en + " (" + field + ")"
		}
		return "en", t.en
	}
	if field != "" {
		return "zh-CN", t.zh + "（" + field + "）"
	}
	return "zh-CN", t.zh
}

// english looks for the first language of the call's accept-language that we speak.
func english(ctx context.Context) bool {
	for _, value := range metadata.ValueFromIncomingContext(ctx, "accept-language") {
		for part := range strings.SplitSeq(value, ",") {
			tag, _, _ := strings.Cut(part, ";")
			tag = strings.ToLower(strings.TrimSpace(tag))
			switch primary, _, _ := strings.Cut(tag, "-"); primary {
			case "en":
				return true
			case "zh":
				return false
			}
		}
	}
	return false
}

// failure is an error within a stream, as the same mapping says it.
func failure(st *status.Status) *pb.Failure {
	f := &pb.Failure{Code: uint32(st.Code()), Message: st.Message()}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			f.Reason, f.Field = info.Reason, info.Metadata["field"]
		}
	}
	return f
}

// resourceKey is the context's key of the name a request asked about.
type resourceKey struct{}

func resourceName(ctx context.Context) string {
	name, _ := ctx.Value(resourceKey{}).(string)
	return name
}

func resourceType(ctx context.Context) string {
	collection, _, _ := strings.Cut(resourceName(ctx), "/")
	if typ, ok := resourceTypes[collection]; ok {
		return "chuishao.v1." + typ
	}
	return ""
}

// resourceTypes are the messages that show the resources of each collection.
var resourceTypes = map[string]string{
	"tickets": "Ticket", "whistles": "Whistle", "posts": "Post", "deliberations": "Deliberation", "exchanges": "Entry",
	"admissions": "Admission", "listings": "Listing", "checks": "SpotCheck", "reviews": "Review",
}
