package main

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// One of three nodes is stopped, or killed, and started again as soon as it is ready, and
// again, under load: no error, and no wrong answer. RINGCORE_SOAK_RESTARTS says how often.
func TestSoakRestarts(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("RINGCORE_SOAK_RESTARTS"))
	if err != nil {
		t.Skip("make soak-restarts runs this")
	}
	for round := range rounds {
		end := map[string]func(*process){"stop": (*process).stop, "kill": (*process).kill}
		for how, end := range end {
			if only := os.Getenv("RINGCORE_SOAK_ONLY"); only != "" && only != how {
				continue
			}
			t.Run(fmt.Sprint(how, round), func(t *testing.T) {
				nodes := mixedNodes(t, 3, "")
				n3 := nodes[2]
				load := startCheck(t, nodes, nil)
				for range 5 {
					end(n3)
					n3.restart()
				}
				end(n3)
				<-time.After(time.Second) // so that the others write without it
				n3.restart()
				settle(t, nodes...)
				v := load.verdict()
				v.tell(t)
				if v.Verdict != "ok" || len(v.Errors) > 0 || v.Puts == 0 {
					t.Errorf("%s with errors %v", v.Verdict, v.Errors)
				}
			})
		}
	}
}
