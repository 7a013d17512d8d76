#!/usr/bin/env bash
# Starts a cluster of three processes on this machine, measures puts and gets, and
# stops it; `make bench` runs it. The nodes and the load share the processors.
#
#   REPLICAS=3  DURATION=5s  CALLERS=1,16,64,256  KEYS=100000  OPS="put get"  DIR=a folder on the disk to measure
set -euo pipefail
cd "$(dirname "$0")/../.."
replicas=${REPLICAS:-3} duration=${DURATION:-5s} callers=${CALLERS:-1,16,64,256} keys=${KEYS:-100000}

[ -n "${DIR:-}" ] && mkdir -p "$DIR"
work=$(mktemp -d "${DIR:-${TMPDIR:-/tmp}}/ringcore-bench.XXXXXX")
pids=()
stop() {
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

CGO_ENABLED=0 go build -trimpath -o "$work/ringcore" ./cmd/ringcore

# ready N: waits until node N has said that it serves.
ready() {
	local n=$1
	until grep -q '^ready ' "$work/n$n.out"; do
		kill -0 "${pids[n - 1]}" 2>/dev/null || { cat "$work/n$n.err" >&2; echo "bench: node n$n has ended" >&2; exit 1; }
		[ "$SECONDS" -lt "$deadline" ] || { cat "$work/n$n.err" >&2; echo "bench: node n$n is not ready" >&2; exit 1; }
		sleep 0.05
	done
}
# say N FIELD: a field of the line with which node N has said that it serves.
say() { sed -n "s/^ready .*\b$2=\([^ ]*\).*/\1/p" "$work/n$1.out"; }
# start N FLAGS: starts node N on free ports and waits for it.
start() {
	local n=$1
	shift
	deadline=$((SECONDS + 60))
	"$work/ringcore" start --name "n$n" --data-dir "$work/n$n" --addr 127.0.0.1:0 --resp-addr off --log-level warn "$@" \
		>"$work/n$n.out" 2>"$work/n$n.err" &
	pids+=($!)
	ready "$n"
}
# ask COMMAND: what node 1 answers, as JSON without white space.
ask() { "$work/ringcore" --endpoint "http://$(say 1 http)" -o json "$@" | tr -d ' \n'; }
# settled: whether all three are members that hold partitions, and nothing moves or waits to.
settled() {
	local members moves
	members=$(ask cluster members) && moves=$(ask transfers) &&
		[ "$(grep -o '"status":"valid"' <<<"$members" | wc -l)" = 3 ] &&
		! grep -q '"slots":0[,}]' <<<"$members" &&
		grep -q '"active":\[\]' <<<"$moves" && grep -q '"waiting":0[,}]' <<<"$moves"
}

start 1 --replicas "$replicas"
start 2 --join "$(say 1 addr)"
start 3 --join "$(say 1 addr)"
deadline=$((SECONDS + 120))
until settled; do
	[ "$SECONDS" -lt "$deadline" ] || { echo "bench: the ring does not settle" >&2; exit 1; }
	sleep 0.2
done

echo "three nodes, $replicas replicas, values of 100 bytes, $(nproc) processors for nodes and load"
addrs=$(say 1 addr),$(say 2 addr),$(say 3 addr)
for op in ${OPS:-put get}; do
	"$work/ringcore" bench --addr "$addrs" --op "$op" --callers "$callers" --duration "$duration" --keys "$keys" --value-size 100 \
		--pids "$(IFS=,; echo "${pids[*]}")"
done
