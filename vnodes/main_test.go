package vnodes

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long skips a test that takes long under the race detector, and whose parts others run
// under it: make race LONG=1 runs it too.
func long(t *testing.T) {
	t.Helper()
	if raceDetector && os.Getenv("RINGCORE_TEST_LONG") == "" {
		t.Skip("under the race detector make race LONG=1 runs this")
	}
}
