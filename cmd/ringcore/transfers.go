package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore/admin"
)

// watchEvery is how often transfers --watch looks.
const watchEvery = time.Second

func (a *app) transfersCommand() *cobra.Command {
	var watch, ended bool
	cmd := &cobra.Command{
		Use:   "transfers",
		Short: "List the partitions that are on the move",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := a.api()
			if err != nil {
				return err
			}
			if ended {
				return a.transfersEnded(cmd.Context(), api)
			}
			if watch {
				return a.watchTransfers(cmd.Context(), api)
			}
			view, err := transfers(cmd.Context(), api)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(view)
			}
			return a.printTransfers(view)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "look again every second, until interrupted")
	cmd.Flags().BoolVar(&ended, "ended", false, "those that have ended, with how long they took and why they were given up")
	cmd.AddCommand(a.transfersSetCommand(), a.transfersAbortCommand())
	return cmd
}

func transfers(ctx context.Context, api *apiClient) (admin.TransfersView, error) {
	view := admin.TransfersView{Active: []admin.TransferView{}}
	err := api.get(ctx, "/v1/transfers", nil, &view)
	return view, err
}

// watchTransfers prints again and again: on a terminal in place, else a table
// whenever something changed, in JSON one document a line.
func (a *app) watchTransfers(ctx context.Context, api *apiClient) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	before := ""
	for {
		view, err := transfers(ctx, api)
		if ctx.Err() != nil {
			return nil // interrupted, as a watch ends
		}
		if err != nil {
			return err
		}
		line, err := json.Marshal(view)
		if err != nil {
			return err
		}
		switch {
		case string(line) == before:
		case a.json():
			fmt.Fprintf(a.out, "%s\n", line)
		default:
			if terminal(a.out) {
				fmt.Fprint(a.out, "\x1b[H\x1b[2J")
			}
			if err := a.printTransfers(view); err != nil {
				return err
			}
		}
		before = string(line)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (a *app) printTransfers(v admin.TransfersView) error {
	if len(v.Active) > 0 {
		if err := printTable(a.out, "PARTITION SLOT SERVICE KIND FROM TO PHASE RECORDS BYTES DONE SPEED LEFT", transferRows(v.Active)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(a.out, "%d active, %d waiting\n", len(v.Active), v.Waiting)
	return err
}

func transferRows(active []admin.TransferView) [][]string {
	var rows [][]string
	for _, t := range active {
		left := "-"
		if t.ETAS > 0 {
			left = (time.Duration(t.ETAS) * time.Second).String()
		}
		rows = append(rows, []string{
			strconv.Itoa(t.Partition), strconv.Itoa(t.Slot), dash(t.Service), t.Kind, dash(t.From), dash(t.To), t.Phase,
			strconv.FormatInt(t.Records, 10), size(t.Bytes), fmt.Sprintf("%s %5.1f%%", gauge(t.Percent), t.Percent), size(t.BytesPerS) + "/s", left,
		})
	}
	return rows
}
