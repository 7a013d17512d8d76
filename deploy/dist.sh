#!/usr/bin/env bash
# Builds the archives of a release: `make dist`. The same commit and the same Go give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."

version=${VERSION:-$(git describe --tags --always --dirty)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p dist
rm -f dist/ringcore_*.tar.gz dist/SHA256SUMS

for platform in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64; do
	name=ringcore_${version}_${platform/\//_}
	mkdir -p "$work/$name"
	GOOS=${platform%/*} GOARCH=${platform#*/} CGO_ENABLED=0 go build -trimpath -buildvcs=true -ldflags='-s -buildid=' -o "$work/$name/ringcore" ./cmd/ringcore
	cp LICENSE README.md deploy/ringcore.service "$work/$name"
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -C "$work" -cf - "$name" | gzip -n9 >"dist/$name.tar.gz"
done
(cd dist && sha256sum ringcore_*.tar.gz >SHA256SUMS && cat SHA256SUMS)
