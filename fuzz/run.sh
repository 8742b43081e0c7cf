#!/usr/bin/env bash
# Fuzzes every target, one after the other, and keeps what was found interesting in fuzz/corpus.
# Needs cargo-fuzz (cargo install cargo-fuzz --locked), a nightly Rust, clang's or GCC's C++ library, and Python 3.
# Usage: fuzz/run.sh [SECONDS [TARGET…]]     600 seconds each, all targets
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
seconds=${1:-600}
shift || true
targets=("$@")
((${#targets[@]})) || targets=(agent amf0 assembler capture datagram flv openflow peer rtmp scheme segments)

python3 seeds.py
# No sanitizer: what is fuzzed has no unsafe code of its own. Debug assertions and overflow checks are on.
cargo +nightly fuzz build --sanitizer none --features libfuzzer
failed=()
for target in "${targets[@]}"; do
  mkdir -p "corpus/$target" "artifacts/$target" "seeds/$target"
  found=$(mktemp -d)
  # Length of an input in bytes, MiB of memory, and whether how often code is reached counts when inputs are picked to be kept. A
  # capture holds an RTMP handshake, and its reader states its limit; so does what an agent passes on.
  case $target in
    capture) length=9000 memory=256 counters=0 ;;
    agent) length=9000 memory=1024 counters=1 ;;
    *) length=5000 memory=1024 counters=1 ;;
  esac
  echo "$target: $seconds s"
  cargo +nightly fuzz run --sanitizer none --features libfuzzer "$target" \
    "$found" "corpus/$target" "seeds/$target" -- \
    -max_total_time="$seconds" -max_len="$length" -rss_limit_mb="$memory" -print_final_stats=1 \
    -artifact_prefix="$PWD/artifacts/$target/" >"$found.log" 2>&1 || failed+=("$target")
  grep -E '^stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb)' "$found.log" || tail -n 20 "$found.log"
  # The fewest inputs that reach all that was reached.
  fewest=$(mktemp -d)
  cargo +nightly fuzz run --sanitizer none --features libfuzzer "$target" \
    "$fewest" "$found" "corpus/$target" "seeds/$target" -- -set_cover_merge=1 -use_counters="$counters" -max_len="$length" >"$fewest.log" 2>&1
  rm -r "corpus/$target" "$found" "$found.log" "$fewest.log"
  mv "$fewest" "corpus/$target"
  chmod 755 "corpus/$target"
done
if ((${#failed[@]})); then
  echo "findings in: ${failed[*]}; the inputs are in fuzz/artifacts" >&2
  exit 1
fi
echo "no findings"
