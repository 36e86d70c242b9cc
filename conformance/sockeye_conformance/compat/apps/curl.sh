#!/usr/bin/env bash
# curl.sh CURL URL: whether this curl opens a WebSocket, and what it says.
read -r _ version _ < <("$1" --version)
printed=$("$1" --insecure --silent --show-error --http2 --max-time 5 "$2" 2>&1 >/dev/null)
printf '{"version": "%s", "error": "%s"}\n' "$version" "${printed//\"/\'}"
