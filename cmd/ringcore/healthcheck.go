package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
)

// health is the answer to check: the cluster's state in one word, as monitors know them.
type health struct {
	State     string   `json:"state"` // ok, warning, critical or unknown
	Reasons   []string `json:"reasons"`
	Members   int      `json:"members"`
	Up        int      `json:"up"`
	Transfers int      `json:"transfers"` // active and waiting
	Hints     int64    `json:"hints"`     // records on their way to their owners
}

// The exit codes of monitoring plug-ins, which are not ours.
var pluginCodes = map[string]int{"ok": 0, "warning": 1, "critical": 2, "unknown": 3}

func (a *app) checkCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say in one line whether the cluster is well, for monitoring",
		Long: "Say in one line whether the cluster is well, and why not. Something is critical if data cannot be read or\n" +
			"written with a majority, or if nobody leads; it is a warning if a node or replicas are missing.\n\n" +
			"The exit code is 0 if all is well, else 3, or 4 if no node can be reached. With --format nagios it is that of\n" +
			"a monitoring plug-in: 0 ok, 1 warning, 2 critical, 3 unknown.",
		Example: "  ringcore check\n  ringcore check --format nagios --endpoint http://10.0.0.1:7402,http://10.0.0.2:7402",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "text" && format != "nagios" {
				return usagef("pass --format text or nagios; for JSON, -o json", "unknown format %q", format)
			}
			h, err := a.health(cmd)
			if err != nil && format == "nagios" {
				h, err = health{State: "unknown", Reasons: []string{err.Error()}}, nil
			}
			if err != nil {
				return err
			}
			if err := a.printHealth(&h, format); err != nil {
				return err
			}
			code := exitUnhealthy
			if format == "nagios" {
				code = pluginCodes[h.State]
			}
			if h.State == "ok" {
				return nil
			}
			return &failure{code: code, err: errors.New(h.State), quiet: true}
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text or nagios")
	return cmd
}

// health asks the cluster how it does.
func (a *app) health(cmd *cobra.Command) (health, error) {
	api, err := a.api()
	if err != nil {
		return health{}, err
	}
	var s admin.StatusView
	if err := api.get(cmd.Context(), "/v1/cluster/status", nil, &s); err != nil {
		return health{}, err
	}
	return healthOf(&s), nil
}

// healthOf grades a status.
func healthOf(s *admin.StatusView) health {
	h := health{State: "ok", Reasons: s.Reasons, Transfers: s.Moving.Active + s.Moving.Waiting}
	for _, m := range s.Members {
		if m.Status == "left" {
			continue
		}
		h.Members++
		if m.Up {
			h.Up++
		}
	}
	for _, x := range s.Hints {
		h.Hints += x.Records
	}
	switch {
	case s.Healthy:
	case slices.ContainsFunc(s.Causes, func(c admin.Cause) bool { return c.Severity == admin.Unavailable || c.Kind == "leader" }):
		h.State = "critical"
	default:
		h.State = "warning"
	}
	return h
}

func (a *app) printHealth(h *health, format string) error {
	if a.json() {
		return a.printJSON(h)
	}
	reasons := strings.Join(h.Reasons, "; ")
	if reasons == "" {
		reasons = fmt.Sprintf("%d of %d members are up", h.Up, h.Members)
	}
	line := h.State + ": " + reasons
	if format == "nagios" {
		line = fmt.Sprintf("RINGCORE %s: %s | members=%d up=%d transfers=%d hints=%d", strings.ToUpper(h.State), reasons, h.Members, h.Up, h.Transfers, h.Hints)
	}
	_, err := fmt.Fprintln(a.out, line)
	return err
}
