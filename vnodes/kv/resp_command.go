package kv

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// respAccess says what a command may run beside.
type respAccess uint8

const (
	respRead  respAccess = iota // reads its keys
	respWrite                   // writes them
	respAlone                   // changes the connection, or concerns all keys
)

// respCommand is what there is to know of a command, in the terms of Redis'
// COMMAND.
type respCommand struct {
	name   string
	arity  int // number of arguments with the name; -n for at least n
	access respAccess
	first  int // place of the first key, 0 for none
	last   int // of the last, -1 for the last argument
	step   int // from one to the next
	run    func(*respCall)
}

// respCommands is every command that is served.
func respCommands() map[string]*respCommand {
	list := []*respCommand{
		{"ping", -1, respRead, 0, 0, 0, (*respCall).ping},
		{"echo", 2, respRead, 0, 0, 0, (*respCall).echo},
		{"hello", -1, respAlone, 0, 0, 0, (*respCall).hello},
		{"auth", -2, respAlone, 0, 0, 0, (*respCall).auth},
		{"select", 2, respAlone, 0, 0, 0, (*respCall).selectDB},
		{"client", -2, respAlone, 0, 0, 0, (*respCall).client},
		{"command", -1, respAlone, 0, 0, 0, (*respCall).command},
		{"config", -2, respAlone, 0, 0, 0, (*respCall).config},
		{"info", -1, respAlone, 0, 0, 0, (*respCall).info},
		{"quit", -1, respAlone, 0, 0, 0, (*respCall).bye},

		{"get", 2, respRead, 1, 1, 1, (*respCall).get},
		{"set", -3, respWrite, 1, 1, 1, (*respCall).set},
		{"setex", 4, respWrite, 1, 1, 1, (*respCall).setex},
		{"getdel", 2, respWrite, 1, 1, 1, (*respCall).getdel},
		{"mget", -2, respRead, 1, -1, 1, (*respCall).mget},
		{"mset", -3, respWrite, 1, -1, 2, (*respCall).mset},
		{"strlen", 2, respRead, 1, 1, 1, (*respCall).strlen},

		{"del", -2, respWrite, 1, -1, 1, (*respCall).del},
		{"exists", -2, respRead, 1, -1, 1, (*respCall).exists},
		{"ttl", 2, respRead, 1, 1, 1, (*respCall).ttl},
		{"pttl", 2, respRead, 1, 1, 1, (*respCall).pttl},
		{"expire", -3, respWrite, 1, 1, 1, (*respCall).expire},
		{"persist", 2, respWrite, 1, 1, 1, (*respCall).persist},

		{"dbsize", 1, respAlone, 0, 0, 0, (*respCall).dbsize},
		{"keys", 2, respAlone, 0, 0, 0, (*respCall).listKeys},
		{"scan", -2, respAlone, 0, 0, 0, (*respCall).scan},
		{"flushdb", -1, respAlone, 0, 0, 0, (*respCall).flush},
		{"flushall", -1, respAlone, 0, 0, 0, (*respCall).flush},
	}
	m := make(map[string]*respCommand, len(list))
	for _, c := range list {
		m[c.name] = c
	}
	return m
}

// command finds a command by its name in any case; nil if there is none.
func (s *respServer) command(name []byte) *respCommand {
	var lower [16]byte // longer than all
	if len(name) > len(lower) {
		return nil
	}
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		lower[i] = b
	}
	return s.commands[string(lower[:len(name)])]
}

func (c *respCommand) takes(args int) bool {
	return args == c.arity || c.arity < 0 && args >= -c.arity
}

// access of an unknown or malformed command is a read of nothing: it does nothing.
func (c *respCall) access() respAccess {
	if c.cmd == nil {
		return respRead
	}
	return c.cmd.access
}

// keys is the keys that the call names.
func (c *respCall) keys() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if c.cmd == nil || c.cmd.first == 0 {
			return
		}
		last := c.cmd.last
		if last < 0 {
			last += len(c.args)
		}
		for i := c.cmd.first; i <= last && i < len(c.args); i += c.cmd.step {
			if !yield(c.args[i]) {
				return
			}
		}
	}
}

// do runs the call and leaves its answer in c.b.
func (c *respCall) do() {
	switch {
	case c.cmd == nil:
		c.error(unknownCommand(c.args))
	case !c.cmd.takes(len(c.args)):
		c.wrongArgs()
	case c.cmd.first == 0:
		c.cmd.run(c)
	default:
		c.runInSlot()
	}
}

// runInSlot runs a command that names keys when the server has room for it: a
// flood of pipelines waits here, in its clients, instead of in the vnodes' queues.
func (c *respCall) runInSlot() {
	slots := c.conn.srv.slots
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
		c.cmd.run(c)
	case <-c.ctx.Done():
		c.fail(c.ctx.Err())
	}
}

func (c *respCall) wrongArgs() {
	c.error("ERR wrong number of arguments for '" + c.cmd.name + "' command")
}

// unknownCommand is Redis' words for a command that is not there.
func unknownCommand(args [][]byte) string {
	var with strings.Builder
	for _, a := range args[1:min(len(args), 8)] {
		fmt.Fprintf(&with, "'%s' ", clip(a))
	}
	return fmt.Sprintf("ERR unknown command '%s', with args beginning with: %s", clip(args[0]), with.String())
}

func clip(b []byte) []byte { return b[:min(len(b), 128)] }

// option is argument i in lower case, "" if there is none.
func (c *respCall) option(i int) string {
	if i >= len(c.args) {
		return ""
	}
	return strings.ToLower(string(clip(c.args[i])))
}

// command is COMMAND [COUNT | INFO [name …] | DOCS …].
func (c *respCall) command() {
	table := c.conn.srv.commands
	switch c.option(1) {
	case "":
		c.array(len(table))
		for _, name := range sortedNames(table) {
			c.describe(table[name])
		}
	case "count":
		c.int(int64(len(table)))
	case "info":
		c.array(len(c.args) - 2)
		for i := 2; i < len(c.args); i++ {
			c.describe(table[c.option(i)])
		}
	case "docs":
		c.pairs(0)
	default:
		c.unknownSub()
	}
}

func (c *respCall) describe(d *respCommand) {
	if d == nil {
		c.null()
		return
	}
	c.array(6)
	c.word(d.name)
	c.int(int64(d.arity))
	c.array(1)
	if d.access == respWrite || d.name == "flushdb" || d.name == "flushall" {
		c.text("write")
	} else {
		c.text("readonly")
	}
	c.int(int64(d.first))
	c.int(int64(d.last))
	c.int(int64(d.step))
}

func sortedNames(table map[string]*respCommand) []string {
	names := make([]string, 0, len(table))
	for name := range table {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c *respCall) unknownSub() {
	c.error(fmt.Sprintf("ERR unknown subcommand '%s'. Try another of %s.", clip(c.args[1]), strings.ToUpper(c.cmd.name)))
}
