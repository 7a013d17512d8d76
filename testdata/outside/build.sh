#!/usr/bin/env bash
# Builds and runs the module beside this file as a user's would be: in a folder of its
# own, with this checkout as the ringcore that it requires. `make outside` runs it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp "$here/go.mod" "$here/main.go" "$work"
cp "$root/go.sum" "$work"
cd "$work"
go mod edit -replace "github.com/ringcore/ringcore=$root"
GOWORK=off GOFLAGS=-mod=mod go build -o outside .
./outside
