#!/usr/bin/env bash
# newcomer.sh goes the way of somebody who has never heard of Ringcore, by the README alone, and
# takes the time: clone, run, first put and get; then an own vnode from an empty folder. It
# fails if that takes three minutes, or if something is not as the README prints it.
# CACHE=cold begins without downloaded modules and without compiled packages (it needs the
# network), CACHE=build without compiled packages only, CACHE=warm with all that this user has.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
dev=
cleanup() {
	[ -z "$dev" ] || kill -- "-$dev" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT
set -m # what runs in the background is a process group of its own, and ends with its children

export GOFLAGS="-buildvcs=false -modcacherw" GOWORK=off
case ${CACHE:=cold} in
cold) export GOMODCACHE=$work/modules GOCACHE=$work/build ;;
build) export GOCACHE=$work/build ;;
warm) ;;
*) echo "CACHE is cold, build or warm, not $CACHE" >&2 && exit 2 ;;
esac

base=7400
while for p in 0 2 10 12 20 22; do (: <"/dev/tcp/127.0.0.1/$((base + p))") 2>/dev/null && break; done; do
	base=$((base + 100)) # somebody listens there
done

began=$EPOCHREALTIME last=$EPOCHREALTIME
took() { # what has been done since the last line, and in all
	local now=$EPOCHREALTIME
	awk -v what="$1" -v a="$last" -v z="$began" -v n="$now" 'BEGIN { printf "%-42s %6.1f s   %6.1f s in all\n", what, n - a, n - z }'
	last=$now
}
command_of() { # the README's command that has these words, with ports that are free
	sed -n 's/^\$ //p' README.md | grep -m1 -- "$1" | sed "s/127\.0\.0\.1:74/127.0.0.1:$((base / 100))/"
}
run() { # such a command, which must print what the README prints
	local cmd out
	cmd=$(command_of "$1")
	out=$(RINGCORE_ENDPOINT=http://127.0.0.1:$((base + 2)) bash -c "$cmd")
	[ "$out" = "$2" ] || { echo "$cmd printed $out, not $2" >&2 && exit 1; }
}

echo "CACHE=$CACHE, $(go version | cut -d' ' -f3), $(nproc) processors"
git clone -q "file://$root" "$work/ringcore"
cd "$work/ringcore"
took "git clone"

: >"$work/dev.out"
bash -c "$(command_of ' dev') --base-port $base --data-dir $work/data" >"$work/dev.out" 2>"$work/dev.err" &
dev=$!
disown # and nobody tells of its end
until grep -q '^ready cluster nodes=3$' "$work/dev.out"; do
	kill -0 "$dev" 2>/dev/null || { cat "$work/dev.err" >&2 && exit 1; }
	sleep 0.2
done
took "$(command_of ' dev')"
run 'kv put hello' ok
took "first put"
run 'kv get hello' world
took "get from another node"
first=$last

mkdir "$work/own"
cd "$work/own"
sed -n '/^```go$/,/^```$/p' "$work/ringcore/README.md" | sed '1d;/^```$/,$d' >main.go
lines=$(wc -l <main.go)
[ "$lines" -lt 60 ] || { echo "the README's service has $lines lines" >&2 && exit 1; }
sed -i.bak 's|Dir: "data"|Dir: "data", Addr: "127.0.0.1:0", OneMachine: true|' main.go # other nodes run here
go mod init example.com/own 2>/dev/null
# In the place of `go get github.com/ringcore/ringcore`: the clone, not what is published.
go mod edit -require github.com/ringcore/ringcore@v0.0.0 -replace "github.com/ringcore/ringcore=$work/ringcore"
counts() { # the program, which must print its count
	local out
	out=$(go run -mod=mod . 2>"$work/own.err") || true
	[ "$out" = "$1 <nil>" ] || { cat "$work/own.err" >&2 && echo "the README's service printed $out, not $1 <nil>" >&2 && exit 1; }
}
counts 1
took "own vnode ($lines lines), first command"
counts 2
took "the same after a restart"

awk -v a="$began" -v f="$first" -v n="$last" 'BEGIN {
	printf "clone to first put and get %.0f s, own vnode %.0f s; the bar is 180 s for both\n", f - a, n - f
	exit n - a >= 180
}'
