package kv

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Limits of a command. Each length is checked before it is allocated. We read
// commands ourselves, because redcon's reader bounds nothing and panics on a
// length near the largest integer.
const (
	respMaxArgs    = 1 << 20
	respMaxBulk    = 16 << 20 // more than a value may have, so that a long value gets a proper answer
	respMaxCommand = 64 << 20
	respMaxInline  = 64 << 10 // bytes of a line: of the reader's buffer
)

// errRESP is a breach of the protocol: the connection cannot go on.
type errRESP struct{ msg string }

func (e *errRESP) Error() string { return "Protocol error: " + e.msg }

// readRESP reads one command in memory of its own. It has no arguments if the
// line was empty. r's buffer must hold respMaxInline bytes.
func readRESP(r *bufio.Reader) ([][]byte, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	if len(line) == 0 || line[0] != '*' {
		return splitInline(line)
	}
	n, err := parseLength(line[1:], respMaxArgs, "invalid multibulk length")
	if err != nil || n <= 0 {
		return nil, err
	}
	args, total := make([][]byte, 0, min(n, 16)), 0
	for range n {
		arg, err := readBulk(r, respMaxCommand-total)
		if err != nil {
			return nil, noEOF(err)
		}
		total += len(arg)
		args = append(args, arg)
	}
	return args, nil
}

func readBulk(r *bufio.Reader, room int) ([]byte, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	if len(line) == 0 || line[0] != '$' {
		return nil, &errRESP{fmt.Sprintf("expected '$', got %q", line[:min(len(line), 1)])}
	}
	n, err := parseLength(line[1:], min(respMaxBulk, room), "invalid bulk length")
	if err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, &errRESP{"invalid bulk length"}
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if b[n] != '\r' || b[n+1] != '\n' {
		return nil, &errRESP{"a bulk string does not end where it says"}
	}
	return b[:n:n], nil
}

// readLine reads to the next line feed; the slice is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, &errRESP{"too big inline request"}
	}
	if err != nil {
		if len(line) > 0 {
			err = noEOF(err)
		}
		return nil, err
	}
	line = line[:len(line)-1]
	if len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	return line, nil
}

func parseLength(b []byte, most int, msg string) (int, error) {
	n, err := strconv.Atoi(string(b))
	if err != nil || n < -1 || n > most {
		return 0, &errRESP{msg}
	}
	return n, nil
}

// splitInline cuts a command typed by hand into its words. Quotes keep spaces;
// within double ones, \n \r \t \\ \" \xHH stand for bytes.
func splitInline(line []byte) ([][]byte, error) {
	var args [][]byte
	for i := 0; ; {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) {
			return args, nil
		}
		arg, width := inlineWord(line[i:])
		if width < 0 {
			return nil, &errRESP{"unbalanced quotes in request"}
		}
		args = append(args, arg)
		i += width
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// inlineWord reads the first word of line and says how long it is there; -1 if
// its quote does not end, or goes on behind its end.
func inlineWord(line []byte) (word []byte, width int) {
	word = []byte{}
	quote := line[0]
	if quote != '"' && quote != '\'' {
		for width < len(line) && !isSpace(line[width]) {
			width++
		}
		return append(word, line[:width]...), width
	}
	for i := 1; i < len(line); i++ {
		switch c := line[i]; {
		case c == quote:
			if i+1 < len(line) && !isSpace(line[i+1]) {
				return nil, -1
			}
			return word, i + 1
		case c == '\\' && quote == '"' && i+1 < len(line):
			b, n := inlineEscape(line[i+1:])
			word = append(word, b)
			i += n
		case c == '\\' && i+1 < len(line) && line[i+1] == '\'':
			word = append(word, '\'')
			i++
		default:
			word = append(word, c)
		}
	}
	return nil, -1
}

// inlineEscape is the byte for what follows a backslash, and how long that is.
func inlineEscape(s []byte) (b byte, width int) {
	switch s[0] {
	case 'n':
		return '\n', 1
	case 'r':
		return '\r', 1
	case 't':
		return '\t', 1
	case 'b':
		return '\b', 1
	case 'a':
		return '\a', 1
	case 'x':
		if len(s) >= 3 {
			if x, err := strconv.ParseUint(string(s[1:3]), 16, 8); err == nil {
				return byte(x), 3
			}
		}
	}
	return s[0], 1
}

// noEOF turns the end of the stream inside a command into io.ErrUnexpectedEOF.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
