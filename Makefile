# Two commands: `make demo` shows the farm at work on a real language, `make test` runs all tests.
# Both do all the set-up first. The rest serves them.

CARGO ?= cargo
# Where the demonstration's farm is laid; it is made anew at each start.
DEMO ?= demo
LISTEN ?= 127.0.0.1:8010

.PHONY: demo test bench check setup setup-demo lines

demo: setup-demo
	@echo "== building (the first time this takes some minutes)"
	$(CARGO) build --locked -p farm-tests --bins
	@$$($(CARGO) metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/farm-demo $(DEMO) $(LISTEN) $(if $(ONCE),once)

test: setup check
	@echo "== tests"
	$(CARGO) build --locked -p farm-tests --bins
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --locked --workspace --no-fail-fast; \
	else \
		$(CARGO) test --locked --workspace --no-fail-fast; \
	fi

check:
	@echo "== format and lints"
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# What tests and demo need of the machine: see the script.
setup:
	@echo "== set-up"
	@./setup test

setup-demo:
	@echo "== set-up"
	@./setup demo

# Lines of Rust a crate, tests in files of their own apart.
lines:
	@for crate in protocol domain store web master worker tests; do \
		printf '%-9s %6d code %6d tests\n' $$crate \
			$$(git ls-files "$$crate/*.rs" | grep -v 'tests' | xargs -r cat | wc -l) \
			$$(git ls-files "$$crate/*.rs" | grep 'tests' | xargs -r cat | wc -l); \
	done
