# What CI runs, by name; `just` alone lists the recipes.

set positional-arguments

_default:
    @just --list

# Formatting, lints for every set of features, documentation
check:
    .ci/run check

# All tests of the workspace
test:
    .ci/run test

# The tests of each set of features, which are part of `just test`
test-features:
    .ci/run features

# What has to hold before anything is published (or: just publish api; just publish write-api; just publish minimal)
publish *stages:
    .ci/publish "$@"

# Brings docs/dependencies.md up to date, and says what it lacks
dependencies:
    .ci/dependencies --write

# A Debian package of the release build, in target/deb
deb:
    .ci/publish build
    packaging/deb target/release/sockeye target/deb

# Browsers, other people's clients, and the HTTP/2 and WebSocket suites against the release build
conformance:
    .ci/run conformance

# The same with all of Autobahn's suite, which takes three quarters of an hour longer
conformance-full:
    .ci/publish build
    cargo build --locked --release -p sockeye --example autobahn_client
    conformance/run --full

# The book (docs/): builds it into target/book, and checks links, generated pages, and the proxies that are installed
docs:
    .ci/docs

# The book's pages that the code writes: options, errors, counters, the program
docs-generate:
    cargo build --locked -p sockeye-cli
    docs/generate

# Who speaks RFC 8441 today: runs real programs from the registries, and writes docs/src/compat.md (or: just compat --only Envoy)
compat *arguments:
    conformance/compat "$@"

# What holds for any input, with inputs that coverage leads to: seconds for each target (or: just fuzz 600 inflate)
fuzz seconds="60" *targets:
    fuzz/run {{seconds}} {{targets}}

# The same with millions of seeds, which need no other toolchain
fuzz-seeds iterations="3000000":
    SOCKEYE_FUZZ_ITERATIONS={{iterations}} cargo test --release -p sockeye-proto --test fuzz

# A million seeds through the tokio layer: its lives in virtual time (or: just simulate 17, which tells all of one)
simulate seeds="0..1000000":
    SOCKEYE_SIM_SEEDS={{seeds}} cargo test --profile simulation -p sockeye --test sim -- --nocapture

# Every schedule of what crosses tasks, by loom, in a build of its own (or: just model visits)
model tests="":
    RUSTFLAGS='--cfg sockeye_model' CARGO_TARGET_DIR=target/model \
        cargo test --profile simulation -p sockeye --lib 'model::{{tests}}'

# The peers and us, under the same load: tables and plots, some 25 minutes (or: just bench --quick; just bench '1 × 1' idle)
bench *arguments:
    bench/run "$@"

# 10,000 WebSockets through 20 restarts, twice: no handshake refused, no message lost (some five minutes)
restarts:
    .ci/publish build
    cargo build --locked --release -p sockeye-interop --bin restart-load
    RESTART_LOAD="$PWD/target/release/restart-load" conformance/run restart -- --filter restarts \
        --clients 8 --sockets 1000 --pages 2000 --restarts 20 --drain 3 --pause 1000 --rest 1

# What each allocator makes of the memory and the speed of a server
bench-allocators:
    bench/allocators

# Our client beside one of hyper and tokio-tungstenite
bench-clients:
    bench/clients

# The gateway beside HAProxy, nghttpx and Envoy, each on a core of its own: bench/gateway.md
bench-gateway *proxies:
    bench/gateway "$@"

# Topics over NATS beside axum's with a broadcast channel for each: bench/hub.md, some seven minutes (or: just bench-hub memory)
bench-hub *parts:
    bench/hub "$@"

# Instructions per message echoed, by valgrind: for changes too small for a clock
bench-instructions:
    bench/instructions/count

# What attackers can do, beside axum: docs/src/attacks.md, some 20 minutes (or: just attacks --quick; just attacks resets 'PING flood')
attacks *arguments:
    cargo build --release --locked --manifest-path bench/Cargo.toml -p attacks
    bench/target/release/attacks "$@"
