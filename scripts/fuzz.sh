#!/usr/bin/env bash
# Hostile input for as long as you like: scripts/fuzz.sh [MINUTES, 60 by default] [FIRST SEED, 1 by default]
#
# The same readers, mutations and corpora as in every test run (tests/fuzz), with other seeds, ten times as many cases a seed,
# compiled with optimisation and with the checks of a test build. The first input that breaks something ends it; the input
# is kept in the temporary folder under the name that is printed. Make a test of it.
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=${1:-60}
seed=${2:-1}
export CARGO_PROFILE_DEV_OPT_LEVEL=1 FUZZ_TIMES=10

cargo test --locked --test fuzz --no-run --quiet
end=$((SECONDS + minutes * 60))
rounds=0
while [ "$SECONDS" -lt "$end" ]; do
    FUZZ_SEED=$seed cargo test --locked --test fuzz --quiet -- --test-threads 2
    seed=$((seed + 1))
    rounds=$((rounds + 1))
    echo "$rounds rounds, next seed $seed, $((SECONDS / 60)) minutes"
done
