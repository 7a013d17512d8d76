package kv

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// respRedisVersion is the Redis whose behaviour clients may expect of the
// commands that are served; some choose what they send by it.
const respRedisVersion = "7.0.0"

const respNoPassword = "ERR AUTH <password> called without any password configured for the default user. " +
	"Are you sure your configuration is correct?"

func (c *respCall) ping() {
	switch len(c.args) {
	case 1:
		c.text("PONG")
	case 2:
		c.bulk(c.args[1])
	default:
		c.wrongArgs()
	}
}

func (c *respCall) echo() { c.bulk(c.args[1]) }

func (c *respCall) bye() {
	c.conn.quit = true
	c.ok()
}

func (c *respCall) selectDB() {
	switch n, err := strconv.Atoi(string(c.args[1])); {
	case err != nil:
		c.error(respNotInteger)
	case n != 0:
		c.error("ERR DB index is out of range")
	default:
		c.ok()
	}
}

// auth is AUTH [user] password. Nothing is protected here, so only the user
// "default" exists, with any password, as in a Redis that has none.
func (c *respCall) auth() {
	switch {
	case len(c.args) == 2:
		c.error(respNoPassword)
	case len(c.args) > 3:
		c.error(respSyntax)
	case string(c.args[1]) != "default":
		c.error("WRONGPASS invalid username-password pair or user is disabled.")
	default:
		c.ok()
	}
}

// hello is HELLO [version [AUTH user password] [SETNAME name]].
func (c *respCall) hello() {
	proto, name := c.conn.proto, c.conn.name
	if len(c.args) > 1 {
		n, err := strconv.Atoi(string(c.args[1]))
		if err != nil || n < 2 || n > 3 {
			c.error("NOPROTO unsupported protocol version")
			return
		}
		proto = n
	}
	for i := 2; i < len(c.args); {
		switch left := len(c.args) - i - 1; {
		case c.option(i) == "auth" && left >= 2:
			if string(c.args[i+1]) != "default" {
				c.error("WRONGPASS invalid username-password pair or user is disabled.")
				return
			}
			i += 3
		case c.option(i) == "setname" && left >= 1:
			name = string(c.args[i+1])
			i += 2
		default:
			c.error(fmt.Sprintf("ERR Syntax error in HELLO option '%s'", clip(c.args[i])))
			return
		}
	}
	if !validClientName(name) {
		c.error(respBadName)
		return
	}
	c.conn.proto, c.conn.name, c.proto = proto, name, proto
	c.pairs(7)
	c.word("server")
	c.word("ringcore")
	c.word("version")
	c.word(respRedisVersion)
	c.word("proto")
	c.int(int64(proto))
	c.word("id")
	c.int(c.conn.id)
	c.word("mode")
	c.word("standalone")
	c.word("role")
	c.word("master")
	c.word("modules")
	c.array(0)
}

const respBadName = "ERR Client names cannot contain spaces, newlines or special characters."

func validClientName(s string) bool {
	return len(s) <= 256 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// client is CLIENT SETNAME|GETNAME|SETINFO|ID|INFO.
func (c *respCall) client() {
	conn := c.conn
	switch sub, n := c.option(1), len(c.args); {
	case sub == "id" && n == 2:
		c.int(conn.id)
	case sub == "getname" && n == 2:
		if conn.name == "" {
			c.null()
		} else {
			c.word(conn.name)
		}
	case sub == "setname" && n == 3:
		if !validClientName(string(c.args[2])) {
			c.error(respBadName)
			return
		}
		conn.name = string(c.args[2])
		c.ok()
	case sub == "setinfo" && n == 4:
		c.setInfo()
	case sub == "info" && n == 2:
		c.word(fmt.Sprintf("id=%d addr=%s laddr=%s name=%s db=0 lib-name=%s resp=%d\n",
			conn.id, conn.nc.RemoteAddr(), conn.nc.LocalAddr(), conn.name, conn.library, conn.proto))
	default:
		c.unknownSub()
	}
}

func (c *respCall) setInfo() {
	value := string(c.args[3])
	switch what := c.option(2); {
	case what != "lib-name" && what != "lib-ver":
		c.error(fmt.Sprintf("ERR Unrecognized option '%s'", clip(c.args[2])))
	case !validClientName(value):
		c.error("ERR lib-name and lib-ver cannot contain spaces, newlines or special characters.")
	default:
		if what == "lib-name" {
			c.conn.library = value
		}
		c.ok()
	}
}

// config is CONFIG GET pattern …. Tools ask a few names before they begin.
func (c *respCall) config() {
	if c.option(1) != "get" {
		c.unknownSub()
		return
	}
	if len(c.args) < 3 {
		c.wrongArgs()
		return
	}
	var found [][2]string
	for _, kv := range [...][2]string{
		{"appendonly", "yes"},
		{"databases", "1"},
		{"maxclients", strconv.Itoa(c.conn.srv.cfg.Clients)},
		{"maxmemory", "0"},
		{"maxmemory-policy", "noeviction"},
		{"proto-max-bulk-len", strconv.Itoa(respMaxBulk)},
		{"save", ""},
		{"timeout", "0"},
	} {
		for i := 2; i < len(c.args); i++ {
			if globMatch([]byte(c.option(i)), []byte(kv[0])) {
				found = append(found, kv)
				break
			}
		}
	}
	c.pairs(len(found))
	for _, kv := range found {
		c.word(kv[0])
		c.word(kv[1])
	}
}

// info is INFO [section …].
func (c *respCall) info() {
	wanted := func(section string) bool {
		for i := 1; i < len(c.args); i++ {
			switch c.option(i) {
			case "all", "everything", "default", section:
				return true
			}
		}
		return len(c.args) == 1
	}
	var b strings.Builder
	for _, s := range c.sections() {
		if wanted(strings.ToLower(s.name)) {
			if b.Len() > 0 {
				b.WriteString("\r\n")
			}
			fmt.Fprintf(&b, "# %s\r\n", s.name)
			for _, f := range s.fields {
				fmt.Fprintf(&b, "%s:%s\r\n", f.Name, f.Value)
			}
		}
	}
	c.word(b.String())
}

type infoSection struct {
	name   string
	fields []InfoField
}

func (c *respCall) sections() []infoSection {
	s := c.conn.srv
	up := int64(s.cfg.now().Sub(s.started) / time.Second)
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	list := []infoSection{
		{"Server", []InfoField{
			{"redis_version", respRedisVersion},
			{"redis_mode", "standalone"},
			{"os", runtime.GOOS + " " + runtime.GOARCH},
			{"arch_bits", strconv.Itoa(strconv.IntSize)},
			{"process_id", strconv.Itoa(os.Getpid())},
			{"ringcore_version", s.cfg.Version},
			{"uptime_in_seconds", strconv.FormatInt(up, 10)},
		}},
		{"Clients", []InfoField{
			{"connected_clients", strconv.Itoa(s.clients())}, {"maxclients", strconv.Itoa(s.cfg.Clients)},
		}},
		{"Memory", []InfoField{{"used_memory", strconv.FormatUint(mem.HeapAlloc, 10)}}},
		{"Stats", []InfoField{
			{"total_connections_received", strconv.FormatInt(s.accepted.Load(), 10)},
			{"total_commands_processed", strconv.FormatInt(s.served.Load(), 10)},
		}},
		{"Replication", []InfoField{{"role", "master"}, {"connected_slaves", "0"}}},
		{"Cluster", []InfoField{{"cluster_enabled", "0"}}},
	}
	if s.cfg.Info != nil {
		list = append(list, infoSection{"Ringcore", s.cfg.Info()})
	}
	return list
}
