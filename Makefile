# The two main commands: `make demo` shows the farm at work on a real language, `make test` runs all checks and tests.
# Both do their set-up first.

CARGO ?= cargo
# The folder of the demonstration's farm. Each start replaces it.
DEMO ?= demo
LISTEN ?= 127.0.0.1:8010
# Where `setup` puts the cargo commands that this machine lacks: outside the clone, so that the next clone has them.
TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/trunkfarm-tools
export TOOLS
export PATH := $(PATH):$(TOOLS)/bin
TARGET = $$($(CARGO) metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

.PHONY: demo test soak bench fuzz acceptance check check-dependencies setup setup-demo setup-fuzz setup-acceptance

demo: setup-demo
	@echo "== building (takes some minutes the first time)"
	$(CARGO) build --locked -p trunkfarm-tests --bins
	@$(TARGET)/debug/farm-demo $(DEMO) $(LISTEN) $(if $(ONCE),once)

test: setup check
	@echo "== tests"
	$(CARGO) build --locked -p trunkfarm-tests --bins
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --locked --workspace --no-fail-fast; \
	else \
		$(CARGO) test --locked --workspace --no-fail-fast; \
	fi

check: check-dependencies
	@echo "== format and lints"
	$(CARGO) fmt --all -- --check
	rustfmt --edition 2024 --check fuzz/fuzz_targets/*.rs
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@echo "== shape"
	$(CARGO) run --locked -q -p trunkfarm-shape
	@echo "== documentation"
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

# Licences, sources, versions and advisories, as deny.toml wants them. Only what is not available here is skipped, with a
# message: the database of advisories comes from the network, and `setup` may have been kept from installing cargo-deny.
check-dependencies:
	@echo "== dependencies"
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny --locked check --hide-inclusion-graph bans licenses sources && \
		if timeout 60 $(CARGO) deny fetch db >/dev/null 2>&1; then \
			$(CARGO) deny --locked --offline check --hide-inclusion-graph advisories; \
		else \
			echo "advisories: not checked, the database cannot be reached"; \
		fi; \
	elif [ -n "$(CI)" ]; then \
		echo "cargo-deny is missing: ./setup test installs it" >&2; exit 1; \
	else \
		echo "dependencies: not checked, cargo-deny is missing (./setup test installs it)"; \
	fi

# Installs what tests and demonstration need on this machine: see the script.
setup:
	@echo "== set-up"
	@./setup test

setup-demo:
	@echo "== set-up"
	@./setup demo

setup-fuzz:
	@echo "== set-up"
	@./setup fuzz

setup-acceptance:
	@echo "== set-up"
	@./setup acceptance

# Runs real projects on a trunk of real CPython sources, and verifies what the farm finds: docs/cpython.md. Some hours the first time;
# what was built stays in the cache folder. `make acceptance MINUTES=60` stops after an hour, and the next run continues.
acceptance: setup-acceptance
	$(CARGO) build --locked -p trunkfarm-tests --bins
	@$(TARGET)/debug/farm-acceptance $(MINUTES)

# Prints one table, each figure beside that of a bare command in the same run. Use a machine that does nothing else.
bench: setup-demo
	$(CARGO) build --locked --release -p trunkfarm-tests --bins
	@$(TARGET)/release/farm-bench

# Kills, stops and disconnects parts of a farm at random for some time, then verifies the result: `make soak SECONDS=3600`.
soak: setup
	$(CARGO) build --locked -p trunkfarm-tests --bins
	@$(TARGET)/debug/farm-soak $(or $(SECONDS),600)

# Fuzzes everything that reads a stranger's bytes, each target for so many seconds: `make fuzz SECONDS=60`.
fuzz: setup-fuzz
	@fuzz/run $(or $(SECONDS),60)
