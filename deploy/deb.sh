#!/usr/bin/env bash
# Builds the Debian package: `make deb`, for one architecture (this machine's by default).
set -euo pipefail
cd "$(dirname "$0")/.."

export ARCH=${1:-$(go env GOARCH)}
VERSION=${VERSION:-$(git describe --tags --abbrev=0 2>/dev/null || echo 0.0.0+git$(git log -1 --format=%cd.%h --date=format:%Y%m%d))}
export VERSION=${VERSION#v}
nfpm=${NFPM:-go run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2}
package=dist/package
rm -rf "$package"
mkdir -p "$package/man"

GOOS=linux GOARCH=$ARCH CGO_ENABLED=0 go build -trimpath -ldflags=-s -o "$package/ringcore" ./cmd/ringcore
go run ./cmd/ringcore config describe >"$package/ringcore.toml"
go run ./cmd/ringcore docs man "$package/man" >/dev/null
go run ./cmd/ringcore completion bash >"$package/completion.bash"
$nfpm package --config deploy/nfpm.yaml --packager deb --target dist
