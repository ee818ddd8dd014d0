package esdb

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/status"
)

// logging is what the client's own log becomes: lines at debug. Errors in them are reduced to their codes, since their
// texts may name streams.
func logging(log *slog.Logger) esdb.LoggingFunc {
	return func(_ esdb.LogLevel, format string, args ...any) {
		if !log.Enabled(context.Background(), slog.LevelDebug) {
			return
		}
		if len(args) == 1 {
			if nested, ok := args[0].([]any); ok { // as some of its calls pass them
				args = nested
			}
		}
		safe := make([]any, len(args))
		for i, a := range args {
			safe[i] = a
			if err, ok := a.(error); ok {
				safe[i] = status.Code(err)
			}
		}
		log.Debug("event store client", "says", fmt.Sprintf(format, safe...))
	}
}
