#!/bin/sh
# Tests the page in headless Chromium with onnxruntime-web from the npm registry, against `defrost predict`.
#
#     scripts/web/test.sh CLASSIFIER IMAGE ...
#
# DEFROST names the program (default: the release build), SCREENSHOT the picture to write, CHROMIUM the browser.
# Needed: node with npm, and Chromium (`apt-get install chromium`).
set -eu
[ $# -ge 2 ] || { echo "usage: $0 CLASSIFIER IMAGE ..." >&2; exit 2; }
folder=$(cd "$(dirname "$0")" && pwd)
program=${DEFROST:-$folder/../../target/release/defrost}
classifier=$1
shift
[ -d "$folder/node_modules/playwright-core" ] || npm install --prefix "$folder" --no-audit --no-fund --no-package-lock
node "$folder/test.mjs" "$program" "$classifier" "${SCREENSHOT:-page.png}" "$@"
