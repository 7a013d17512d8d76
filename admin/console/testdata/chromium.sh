#!/usr/bin/env bash
# Finds a Chromium, or installs the distribution's if it can; says so if there is none.
set -euo pipefail
for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
	[ -n "$name" ] && command -v "$name" >/dev/null && exit
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } >/dev/null 2>&1 &&
		command -v chromium >/dev/null && exit
fi
echo "there is no Chromium and it cannot be installed: the web console is not tried in a browser; name one in CHROMIUM" >&2
exit 1
