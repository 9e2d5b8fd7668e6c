#!/bin/sh
# Makes outputs/ anew: what real runners print of the small suites in sources/. Needs python3, node, npm, perl, cargo with
# nextest, and of Debian: golang-go gotestsum lua5.4 lua-unit lua-busted libgtest-dev g++. Other versions word some things anew, so
# the counts that the tests expect are to be looked at after it. PYTHON310 names a Python of that version, if there is one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# Everything is installed and run there, and its path is kept out of the outputs.
work=${1:-/tmp/corpus}
out=$here/outputs
rm -rf "$work/run" && mkdir -p "$work" "$out" && cp -r "$here/sources" "$work/run"

[ -x "$work/python/bin/pytest" ] || {
  python3 -m venv "$work/python"
  "$work/python/bin/pip" install -q pytest pytest-rerunfailures pytest-xdist twisted django tblib unittest-xml-reporting
}
[ -x "$work/npm/node_modules/.bin/mocha" ] || {
  mkdir -p "$work/npm"
  (cd "$work/npm" && npm init -y && npm install --no-audit --no-fund mocha jest jest-junit vitest tape) >/dev/null
}
unset RUST_BACKTRACE
export NODE_PATH="$work/npm/node_modules" NO_COLOR=1 PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8
bin=$work/python/bin
node=$work/npm/node_modules/.bin

# Keeps what a command prints on both streams; that it fails is why it is here.
of() { name=$1; shift; "$@" >"$work/printed" 2>&1 || true; keep "$name" "$work/printed"; }
out_of() { name=$1; shift; "$@" >"$work/printed" 2>/dev/null || true; keep "$name" "$work/printed"; }
# For a runner that writes its report into a file.
run() { "$@" >/dev/null 2>&1 || true; }
# Paths of this machine, its name and colours are nobody's business.
keep() { nowhere "$2" | sed 's/\x1b\[[0-9;]*m//g' >"$out/$1"; }
nowhere() {
  sed -e "s#$work/run#/src#g" -e "s#$work#/opt#g" -e "s#$HOME#/home/user#g" -e "s#\b$(hostname)\b#host#g" "$1"
}
# One output with its colours.
coloured_of() { name=$1; shift; "$@" >"$work/printed" 2>&1 || true; nowhere "$work/printed" >"$out/$name"; }

cd "$work/run/python"
of pytest-rA.txt      "$bin/pytest" -rA -p no:cacheprovider test_sample.py
of pytest-v.txt       "$bin/pytest" -v -p no:cacheprovider test_sample.py
of pytest-vrA.txt     "$bin/pytest" -v -rA --no-fold-skipped -p no:cacheprovider test_sample.py
of pytest-xdist.txt   "$bin/pytest" -v -rA -n 2 -p no:cacheprovider test_sample.py
coloured_of pytest-colour.txt "$bin/pytest" -v -rA --color=yes -p no:cacheprovider test_sample.py
of pytest-crash.txt   "$bin/pytest" -v -p no:cacheprovider test_crash.py
of pytest-import.txt  "$bin/pytest" -rA -p no:cacheprovider test_unimportable.py test_none.py
of pytest-none.txt    "$bin/pytest" -rA -p no:cacheprovider test_none.py
of pytest-rerun.txt   "$bin/pytest" -v -rA -p no:cacheprovider test_rerun.py
of pytest-subtests.txt "$bin/pytest" -v -rA -p no:cacheprovider test_subtests.py
# Before 3.11 the lines of unittest look different where a subtest fails.
[ -z "${PYTHON310-}" ] || of unittest-3.10.txt "$PYTHON310" -m unittest -v case_subtests
run "$bin/pytest" --junitxml=report.xml -p no:cacheprovider test_sample.py test_unimportable.py --continue-on-collection-errors
keep pytest.xml report.xml
of unittest.txt       "$bin/python" -m unittest -v case_sample
of unittest-import.txt "$bin/python" -m unittest -v case_sample.Plain.test_passes case_unimportable
of unittest-crash.txt "$bin/python" -m unittest -v case_crash
of unittest-none.txt  "$bin/python" -m unittest -v test_none
of unittest-quiet.txt "$bin/python" -m unittest case_sample
of xmlrunner.xml      "$bin/python" -m xmlrunner --output-file report.xml case_sample
keep xmlrunner.xml report.xml

cd "$work/run/django"
of django.txt         "$bin/python" -m django test -v 2 --settings=settings --pythonpath=.
of django-none.txt    "$bin/python" -m django test -v 2 --settings=settings --pythonpath=. --tag=none
of django-parallel.txt "$bin/python" -m django test -v 2 --parallel 2 --settings=settings --pythonpath=.

cd "$work/run/trial"
export PYTHONPATH="$PWD"
of trial.txt          "$bin/trial" test_sample
of trial-import.txt   "$bin/trial" test_sample.Deferred.test_fires test_unimportable
of trial-none.txt     "$bin/trial" test_sample.SetUp.no_such_test
of trial-text.txt     "$bin/trial" --reporter=text test_sample

unset PYTHONPATH
cd "$work/run/go"
of go.json            go test -json .
of go-dies.json       go test -json ./dies
of go-broken.json     go test -json ./broken ./none
run gotestsum --junitfile report.xml -- . ./dies ./broken
keep gotestsum.xml report.xml

cd "$work/run/rust"
export CARGO_TARGET_DIR="$work/rust-target"
of libtest.txt        cargo test --no-fail-fast -- --test-threads 1
of libtest.json       env RUSTC_BOOTSTRAP=1 cargo test --no-fail-fast -- -Z unstable-options --format json --report-time
out_of libtest.xml   env RUSTC_BOOTSTRAP=1 cargo test --no-fail-fast --lib -- -Z unstable-options --format junit
of libtest-dies.txt   env DIE=1 cargo test --test dies -- --test-threads 1
of libtest-none.txt   cargo test --test other no_such_test
mkdir -p .config && printf '[profile.default]\nretries = 1\n[profile.default.junit]\npath = "junit.xml"\n' >.config/nextest.toml
run cargo nextest run --no-fail-fast
keep nextest.xml target/nextest/default/junit.xml
unset CARGO_TARGET_DIR

cd "$work/run/lua"
of luaunit-v.txt      lua5.4 sample.lua -v
of luaunit.txt        lua5.4 sample.lua
of luaunit.tap        lua5.4 sample.lua -o tap
run lua5.4 sample.lua -o junit -n report
keep luaunit.xml report.xml
of luaunit-none.txt   lua5.4 none.lua
of busted.tap         busted --lua=lua5.4 -o TAP sample_spec.lua
of busted.xml         busted --lua=lua5.4 -o junit sample_spec.lua

cd "$work/run/node"
of node.tap           node --test --test-reporter=tap sample.test.js
of node.xml           node --test --test-reporter=junit sample.test.js
of mocha.tap          "$node/mocha" --reporter tap sample.spec.js
of mocha.xml          "$node/mocha" --reporter xunit sample.spec.js
echo '{}' >package.json
run env JEST_JUNIT_OUTPUT_FILE=report.xml "$node/jest" --rootDir . --reporters "$NODE_PATH/jest-junit" --testRegex 'sample.spec.js$'
keep jest-junit.xml report.xml
ln -sf "$NODE_PATH" node_modules
printf 'import { defineConfig } from "vitest/config";\nexport default defineConfig({ test: { include: ["*.vitest.mjs"] } });\n' >vitest.config.mjs
of vitest.tap         "$node/vitest" run --reporter=tap
of vitest.xml         "$node/vitest" run --reporter=junit
of tape.tap           node sample.tape.js

cd "$work/run/perl"
of perl.tap           perl sample.t
of perl-bails.tap     perl bails.t
of perl-dies.tap      perl dies.t
of perl-skips.tap     perl skips_all.t

cd "$work/run/gtest"
c++ -o sample sample.cc -I/usr/src/googletest/googletest/include -I/usr/src/googletest/googletest \
    /usr/src/googletest/googletest/src/gtest-all.cc /usr/src/googletest/googletest/src/gtest_main.cc -pthread
run ./sample --gtest_output=xml:report.xml
keep gtest.xml report.xml
