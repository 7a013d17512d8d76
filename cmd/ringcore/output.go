package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// json reports whether the output is to be JSON.
func (a *app) json() bool { return a.output == "json" }

// printJSON prints v, indented.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// show asks the node for a view, and prints it as JSON, or as print does.
func show[T any](ctx context.Context, a *app, path string, print func(T) error) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	var view T
	if err := api.get(ctx, path, nil, &view); err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(view)
	}
	return print(view)
}

// printTable prints rows under an upper-case header, columns two spaces apart.
func printTable(w io.Writer, header string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(strings.Fields(header), "\t"))
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// done is the one line that a command prints that changed something.
func (a *app) done(what string, result any) error {
	if a.json() {
		return a.printJSON(result)
	}
	_, err := fmt.Fprintln(a.out, what)
	return err
}

// terminal reports whether v is a terminal, for redrawing and for questions.
func terminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), getTermios) // /dev/null is a character device too
	return err == nil
}

// size is a number of bytes for people.
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	v, u := float64(n), 0
	for v >= 1000 && u < len(units)-1 {
		v, u = v/1000, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[u])
}

// mark is yes or no in a table.
func mark(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// dash stands for an empty cell.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
