# Chores of this repository. `just` lists them; `just verify` is what CI runs.

default:
    @just --list

# Formats all code
fmt:
    cargo fmt --all

# Checks format and lints
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Runs the tests; `just test -p oms-engine --test engine line` runs some of them
test *args='--workspace':
    cargo test --locked {{ args }}

# Makes the documentation of our own crates
doc *args:
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --all-features --locked {{ args }}

# Starts a PostgreSQL server and says where it is, until Ctrl-C
db:
    cargo run --locked --example database

# Runs the checks that need more than Cargo, with what they need below target/: Conductor's SDKs for Python,
# JavaScript and Rust against `oms server`, a PostgreSQL server by pip. `just e2e -k python` runs some of them
e2e *args:
    e2e/run.sh {{ args }}

# Runs 200 orders on a real Conductor, whose worker is killed, and compares the conformance cases; `orders` or `cases` alone
e2e-conductor *part:
    e2e/conductor_cluster.sh {{ part }}

# Fuzzes a target (definition, template, path, query) for so many seconds; see docs/fuzzing.md
fuzz target seconds='600':
    mkdir -p fuzz/corpus/{{ target }}
    fuzz/seeds.py fuzz/corpus/{{ target }}
    # jq measures its stack by addresses.
    ASAN_OPTIONS=detect_stack_use_after_return=0 cargo +nightly fuzz run {{ target }} -- -max_total_time={{ seconds }} -max_len=8192 -timeout=10 -rss_limit_mb=2048

# Keeps runs in every state with today's tables: before each release that changed them
dump:
    OMS_WRITE_DUMP=1 cargo test -p oms-engine --test upgrade copy

# Checks licences, sources and advisories; needs cargo-deny
deny:
    cargo deny --all-features check

# Runs all that CI runs
verify:
    .ci/run
