#!/usr/bin/env bash
# Runs every fuzz target for so many seconds (default 60). Needs a nightly toolchain; installs cargo-fuzz when it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
cargo +nightly --version >/dev/null 2>&1 || {
    echo "fuzz: a nightly toolchain is needed: rustup toolchain install nightly" >&2
    exit 1
}
cargo +nightly fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz
for target in $(cargo +nightly fuzz list); do
    echo "fuzz: $target for $seconds s"
    mkdir -p "fuzz/corpus/$target"
    seeds=()
    [ ! -d "fuzz/seeds/$target" ] || seeds=("fuzz/seeds/$target")
    cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "${seeds[@]}" -- -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=2048 -print_final_stats=0 \
        2>&1 | tail -n 3
done
