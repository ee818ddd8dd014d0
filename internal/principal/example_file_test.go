package principal_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/principal"
)

func TestTheExampleFileReadsAndLetsNobodyInByAToken(t *testing.T) {
	t.Parallel()
	f, err := principal.Open(filepath.Join("..", "..", "examples", "principals.yaml"), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"hello", "", "0"} {
		if actor, err := f.Lookup(token, time.Now()); err == nil {
			t.Errorf("the token %q makes its bearer %v", token, actor)
		}
	}
}
