#!/usr/bin/env bash
# Everything that must hold before a commit, cheapest first. CI runs the same.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --check
cargo clippy --all-targets --all-features --quiet -- -D warnings
cargo test --quiet
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --quiet
