#!/usr/bin/env bash
# Builds Ringcore and the program that measures it beside its peers, and runs that;
# `make bench-peers` and `make bench-resp` do it. Peers that are Go modules and are not in the
# module cache, when there is no network, are left out and said so.
#
#   peers.sh bench|resp   DURATION=3s  CALLERS=1,64,256  KEYS=100000  ONLY=ringcore,redis,nats,etcd,olric,resp
#                         QUIET=15  TRIES=2  JSON=file  MARKDOWN=file  DIR=a folder on the disk to measure
set -euo pipefail
here=$(pwd)
cd "$(dirname "$0")/../.."
what=${1:-bench}

bin=$(mktemp -d "${TMPDIR:-/tmp}/ringcore-peers.XXXXXX")
trap 'rm -rf "$bin"' EXIT
export CGO_ENABLED=0 GOWORK=off
go build -trimpath -o "$bin/ringcore" ./cmd/ringcore

# build TAGS: builds the program, without the peers that TAGS leave out.
build() { (cd testdata/bench/peers && go build -trimpath -tags "$1" -o "$bin/peers" .); }
if ! build "" 2>"$bin/error"; then
	tags=
	for peer in etcd nats olric; do
		# Only this peer beside those that are in the program anyway.
		others=$(printf 'no%s\n' etcd nats olric | grep -v "^no$peer\$" | paste -sd,)
		build "$others" 2>/dev/null || tags=${tags:+$tags,}no$peer
	done
	if ! build "$tags"; then
		cat "$bin/error" >&2
		exit 1
	fi
fi

args=(--ringcore "$bin/ringcore" --duration "${DURATION:-3s}" --callers "${CALLERS:-1,64,256}" --keys "${KEYS:-100000}" --only "${ONLY:-}"
	--quiet "${QUIET:-15}" --tries "${TRIES:-2}")
# Files are named from where make was called.
path() { case $1 in /*) echo "$1" ;; *) echo "$here/$1" ;; esac; }
[ -z "${JSON:-}" ] || args+=(--json "$(path "$JSON")")
[ -z "${MARKDOWN:-}" ] || args+=(--markdown "$(path "$MARKDOWN")")
if [ -n "${DIR:-}" ]; then
	mkdir -p "$DIR"
	args+=(--dir "$(path "$DIR")")
fi
# Not exec: the trap must run.
"$bin/peers" "$what" "${args[@]}"
