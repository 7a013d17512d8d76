#!/usr/bin/env bash
# upgrade.sh COMMIT builds that commit's ringcore and has its nodes rolled to the present
# version, back, and to it again, under load. Any clone with the history will do.
set -euo pipefail
from=$(git rev-parse --verify "${1:?a commit}^{commit}")
cd "$(git rev-parse --show-toplevel)"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
git archive "$from" | tar -x -C "$dir/src"
(cd "$dir/src" && CGO_ENABLED=0 "${GO:-go}" build -trimpath -o "$dir/ringcore" ./cmd/ringcore)
echo "from $(git log -1 --format='%h %s' "$from")"
RINGCORE_UPGRADE_FROM="$dir/ringcore" CGO_ENABLED=0 "${GO:-go}" test -count=1 -timeout 15m -run '^TestUpgradeFrom$' -v ./cmd/ringcore/
