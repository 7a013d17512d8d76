#!/bin/sh
# Makes the user that the service runs as. The service is not started: it is you who says what
# cluster the node is to be of.
set -e
getent passwd ringcore >/dev/null || useradd --system --home-dir /var/lib/ringcore --shell /usr/sbin/nologin ringcore
[ ! -d /run/systemd/system ] || systemctl daemon-reload
