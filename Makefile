# The two main commands: `make demo` shows the farm at work on a real language, `make test` runs all checks and tests.
# Both do their set-up first.

CARGO ?= cargo
# The folder of the demonstration's farm. Each start replaces it.
DEMO ?= demo
LISTEN ?= 127.0.0.1:8010
TARGET = $$($(CARGO) metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

.PHONY: demo test soak bench check setup setup-demo

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

check:
	@echo "== format and lints"
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@echo "== shape"
	$(CARGO) run --locked -q -p trunkfarm-shape

# Installs what tests and demonstration need on this machine: see the script.
setup:
	@echo "== set-up"
	@./setup test

setup-demo:
	@echo "== set-up"
	@./setup demo

# Prints one table, each figure beside that of a bare command in the same run. Use a machine that does nothing else.
bench: setup-demo
	$(CARGO) build --locked --release -p trunkfarm-tests --bins
	@$(TARGET)/release/farm-bench

# Kills, stops and disconnects parts of a farm at random for some time, then verifies the result: `make soak SECONDS=3600`.
soak: setup
	$(CARGO) build --locked -p trunkfarm-tests --bins
	@$(TARGET)/debug/farm-soak $(or $(SECONDS),600)
