#!/usr/bin/env bash
# Fuzzes every reader of bytes from outside: scripts/fuzz.sh [SECONDS each, default 1800] [TARGET ...]
#
# Needed: cargo-fuzz (`cargo install cargo-fuzz`) and a nightly toolchain or RUSTC_BOOTSTRAP=1. The corpus starts from the
# fixtures and grows in target/fuzz/corpus; what makes a target fail lies in target/fuzz/artifacts afterwards: mend it, and
# copy it to tests/fuzz/found/TARGET, which `cargo test` replays.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-1800}
shift || true
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    mapfile -t targets < <(cargo fuzz list --fuzz-dir tests/fuzz)
fi

cargo test --quiet --test it -- --ignored fuzz::write_the_corpus
failed=0
for target in "${targets[@]}"; do
    mkdir -p "target/fuzz/artifacts/$target"
    # Everything is safe Rust: panics, hangs and memory are what is looked for, no sanitizer.
    cargo fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz/build --sanitizer none "$target" "target/fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=1024 -max_len=65536 -fork=1 -ignore_crashes=1 -ignore_timeouts=1 -ignore_ooms=1 \
        -artifact_prefix="target/fuzz/artifacts/$target/" -print_final_stats=1 2>&1 | tail -n 3 || failed=1
    count=$(find "target/fuzz/artifacts/$target" -type f | wc -l)
    echo "$target: $count inputs that fail"
    [ "$count" = 0 ] || failed=1
done
exit "$failed"
