package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// How much of the screen what is not the table may take.
const (
	topReasons   = 3
	topTransfers = 6
)

// topSort says by which column each table is sorted; -1: as it comes.
type topSort struct {
	nodes, vnodes int
	reverse       bool
}

// topUI is what is on the screen, and how it is to be shown.
type topUI struct {
	view   *topView
	err    error // of the last look
	every  time.Duration
	vnodes bool
	sort   topSort
}

// topCell is one place of a table: what it says, and what it is sorted by.
type topCell struct {
	text string
	by   float64 // 0 for all of a column that is sorted by its text
}

// topTable is a table before it is laid out.
type topTable struct {
	header []string
	rows   [][]topCell
}

// key does what a key asks for, and reports whether it ends top.
func (u *topUI) key(k rune) (quit bool) {
	column, columns := &u.sort.nodes, len(topNodeHeader)
	if u.vnodes {
		column, columns = &u.sort.vnodes, len(topVnodeHeader)
	}
	switch k {
	case 'q', 'Q', keyInterrupt:
		return true
	case '<', keyLeft:
		*column = max(*column-1, -1)
	case '>', keyRight:
		*column = min(*column+1, columns-1)
	case 'r':
		u.sort.reverse = !u.sort.reverse
	case 'v', 'n':
		u.vnodes = k == 'v' && !u.vnodes
	}
	return false
}

// frame is the screen, of so many lines and columns at most. A line that begins with a tab is
// the table's header.
func (u *topUI) frame(width, height int) []string {
	help := fmt.Sprintf("q quit   < > sort by   r reverse   v vnodes   every %s", u.every)
	if u.vnodes {
		help = fmt.Sprintf("q quit   < > sort by   r reverse   v nodes   every %s", u.every)
	}
	head := u.view.head()
	if u.err != nil {
		head[0] = "ringcore top: " + u.err.Error() + "; trying again"
	}
	tail := append(u.view.tail(), "", help)
	table, column := u.view.table(u.vnodes), u.sort.nodes
	if u.vnodes {
		column = u.sort.vnodes
	}
	table.sort(column, u.sort.reverse)
	lines := table.lines(column, u.sort.reverse)
	if room := max(height-len(head)-len(tail), 2); len(lines) > room {
		lines = append(lines[:room-1], fmt.Sprintf("… and %d more", len(lines)-room+1))
	}
	return fitted(slices.Concat(head, lines, tail), width, height)
}

// plain is all of it, for a file or a pipe.
func (v *topView) plain(vnodes bool) []string {
	table := v.table(vnodes)
	lines := slices.Concat(v.head(), table.lines(-1, false), v.tail())
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "\t")
	}
	return lines
}

// head is the cluster in a few lines, and an empty one.
func (v *topView) head() []string {
	up, requests, failed, p99 := 0, 0.0, 0.0, -1.0
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if n.Status != "away" {
			up++
		}
		requests += max(valueOf(n.Requests), 0)
		failed += max(valueOf(n.Failed), 0)
		p99 = max(p99, valueOf(n.P99))
	}
	health := "healthy"
	if !v.Healthy {
		health = "unhealthy"
	}
	lines := []string{
		fmt.Sprintf("ringcore top: %s, %d of %d nodes are up; %s requests/s, %s failed/s, p99 %s", health, up, len(v.Nodes), perSecond(&requests), perSecond(&failed), micros(&p99)),
	}
	for i, r := range v.Reasons {
		if i == topReasons {
			lines = append(lines, fmt.Sprintf("! and %d more: ringcore cluster status", len(v.Reasons)-i))
			break
		}
		lines = append(lines, "! "+r)
	}
	return append(lines, "")
}

// tail is what moves and waits; an empty line before it.
func (v *topView) tail() []string {
	lines := []string{"", "transfers  " + movingLine(&v.Moving)}
	for i, t := range v.Transfers {
		if i == topTransfers {
			lines = append(lines, fmt.Sprintf("           and %d more: ringcore transfers", len(v.Transfers)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("           P%-4d %-9s %s > %s %s %5.1f%% %s/s", t.Partition, t.Kind, dash(t.From), dash(t.To), gauge(t.Percent), t.Percent, size(t.BytesPerS)))
	}
	for _, h := range v.Hints {
		lines = append(lines, fmt.Sprintf("hints      for %s: %d records, kept by %s", h.For, h.Records, strings.Join(h.Holders, ", ")))
	}
	return lines
}

var (
	topNodeHeader  = strings.Fields("NODE STATUS REQ/S ERR/S P50 P99 CPU MEM QUEUE DEEPEST STUCK RECORDS DATA FREE HINTS")
	topVnodeHeader = strings.Fields("SERVICE PARTITION SLOT NODE STATE REQ/S LATENCY QUEUE STUCK RECORDS DATA")
)

func (v *topView) table(vnodes bool) topTable {
	if vnodes {
		t := topTable{header: topVnodeHeader}
		for i := range v.Vnodes {
			t.rows = append(t.rows, v.Vnodes[i].cells())
		}
		return t
	}
	t := topTable{header: topNodeHeader}
	for i := range v.Nodes {
		t.rows = append(t.rows, v.Nodes[i].cells())
	}
	return t
}

func (n *topNode) cells() []topCell {
	cpu := "-"
	if n.CPU != nil {
		cpu = fmt.Sprintf("%.0f%%", *n.CPU)
	}
	return []topCell{
		{n.Node, 0},
		{n.Status, 0},
		{perSecond(n.Requests), valueOf(n.Requests)},
		{perSecond(n.Failed), valueOf(n.Failed)},
		{micros(n.P50), valueOf(n.P50)},
		{micros(n.P99), valueOf(n.P99)},
		{cpu, valueOf(n.CPU)},
		bytesCell(n.Memory), whole(n.Queue), whole(n.Deepest), whole(n.Busy),
		whole(n.Records), bytesCell(n.Bytes), bytesCell(n.DiskFree), whole(&n.Hints),
	}
}

func (x *topVnode) cells() []topCell {
	slot := strconv.Itoa(x.Slot)
	if x.Slot < 0 {
		slot = "for " + x.For
	}
	busy, latency := 0, float64(x.LatencyUS)
	if x.Busy {
		busy = 1
	}
	return []topCell{
		{x.Service, 0},
		whole(&x.Partition),
		{slot, 0},
		{x.Node, 0},
		{x.State, 0},
		{perSecond(x.RequestsPerS), valueOf(x.RequestsPerS)},
		{micros(&latency), latency},
		whole(&x.Queue),
		{mark(x.Busy), float64(busy)},
		whole(x.Records), bytesCell(x.Bytes),
	}
}

func whole[T int | int64](n *T) topCell {
	if n == nil {
		return topCell{"-", -1}
	}
	return topCell{strconv.FormatInt(int64(*n), 10), float64(*n)}
}

func bytesCell(n *int64) topCell {
	if n == nil {
		return topCell{"-", -1}
	}
	return topCell{size(*n), float64(*n)}
}

// perSecond is a rate: exact while it is small.
func perSecond(n *float64) string {
	switch {
	case n == nil:
		return "-"
	case *n > 0 && *n < 10:
		return fmt.Sprintf("%.1f", *n)
	}
	return fmt.Sprintf("%.0f", *n)
}

// micros is a time in microseconds for people.
func micros(us *float64) string {
	switch {
	case us == nil || *us <= 0:
		return "-"
	case *us < 1000:
		return fmt.Sprintf("%.0f µs", *us)
	case *us < 1e6:
		return fmt.Sprintf("%.1f ms", *us/1e3)
	}
	return fmt.Sprintf("%.1f s", *us/1e6)
}

// sort sorts by a column: the largest figure first, text in its order.
func (t *topTable) sort(column int, reverse bool) {
	if column >= 0 {
		slices.SortStableFunc(t.rows, func(a, b []topCell) int {
			x, y := a[column], b[column]
			if x.by != y.by {
				return cmp.Compare(y.by, x.by)
			}
			if x.by != 0 {
				return 0
			}
			return cmp.Compare(x.text, y.text)
		})
	}
	if reverse {
		slices.Reverse(t.rows)
	}
}

// lines lays the table out: text at the left, figures at the right of their columns. The column
// that it is sorted by is marked.
func (t *topTable) lines(column int, reverse bool) []string {
	rows := [][]string{slices.Clone(t.header)}
	if column >= 0 {
		rows[0][column] += map[bool]string{false: "▼", true: "▲"}[reverse]
	}
	for _, r := range t.rows {
		var texts []string
		for _, c := range r {
			texts = append(texts, c.text)
		}
		rows = append(rows, texts)
	}
	widths := make([]int, len(t.header))
	for _, r := range rows {
		for i, text := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	var lines []string
	for _, r := range rows {
		var b strings.Builder
		for i, text := range r {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			if wordy(t.header[i]) {
				text += pad
			} else {
				text = pad + text
			}
			b.WriteString(text)
			if i < len(r)-1 {
				b.WriteString("  ")
			}
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	lines[0] = "\t" + lines[0]
	return lines
}

// wordy tells which columns hold words.
func wordy(header string) bool {
	return slices.Contains([]string{"NODE", "STATUS", "SERVICE", "SLOT", "STATE"}, header)
}

// fitted are lines cut to the screen, without anything that would move the cursor.
func fitted(lines []string, width, height int) []string {
	if len(lines) > height {
		lines = append(lines[:max(height-1, 0)], lines[len(lines)-1]) // the last one says how to end it
	}
	for i, line := range lines {
		line, header := strings.CutPrefix(line, "\t")
		runes := []rune(strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return '?'
			}
			return r
		}, line))
		if header {
			runes = append(runes, []rune(strings.Repeat(" ", max(width-len(runes), 0)))...)
		}
		if len(runes) > width {
			runes = runes[:max(width, 0)]
		}
		lines[i] = string(runes)
		if header {
			lines[i] = "\t" + lines[i]
		}
	}
	return lines
}
