#!/usr/bin/env bash
# Everything that has to hold: format, lints, documentation, tests. The same here and in CI.
#
# The order spares building: what is only checked shares its dependencies (lints, documentation), what is run shares the
# compiled ones (examples in the documentation, tests).
set -euo pipefail
cd "$(dirname "$0")/.."

# A build that is thrown away afterwards gains nothing from being incremental, nor from what a debugger would want.
if [ -n "${CI:-}" ]; then
    export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0
fi

step() {
    printf '\n== %s (%d s)\n' "$1" "$SECONDS"
}

step 'What the tests need'
scripts/install-test-deps.sh

step 'Format'
cargo fmt --all --check

step 'Lints'
cargo clippy --locked --all-targets --quiet -- --deny warnings

# Private items too: this is a program, and its documentation is for those who change it.
step 'Documentation'
RUSTDOCFLAGS='--deny warnings --allow rustdoc::private_intra_doc_links' \
    cargo doc --locked --no-deps --document-private-items --quiet

step 'Examples in the documentation'
cargo test --locked --doc --quiet

# Tests of `broker` and `e2e` share one broker as long as they share one process; nextest gives each test its own. They mostly
# wait: the other tests are built and run beside them. Three at once on two cores.
step 'Tests'
cargo test --locked --test broker --test e2e --quiet --no-run
said=$(mktemp)
trap 'rm -f "$said"' EXIT
cargo test --locked --test broker --test e2e --quiet -- --test-threads 3 >"$said" 2>&1 &
on_broker=$!
failed=0
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked || failed=1
else
    echo 'cargo-nextest is not installed: cargo test runs them, one binary after the other.'
    cargo test --locked --lib --bins --tests || failed=1
fi

step 'Tests on the broker, which ran beside them'
wait "$on_broker" || failed=1
cat "$said"
[ "$failed" -eq 0 ] || exit 1

step 'Done'
