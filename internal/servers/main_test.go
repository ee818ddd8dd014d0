package servers_test

import (
	"os"
	"testing"

	"github.com/chuishao/dispatch/internal/servers"
)

func TestMain(m *testing.M) {
	servers.Main()
	os.Exit(m.Run())
}
