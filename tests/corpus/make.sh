#!/bin/sh
# Writes outputs/ again: what real test runners print for the small suites in sources/.
#
# Usage: make.sh [FOLDER]; needs python3, node, npm, perl, cargo with nextest, and Debian's golang-go, gotestsum, lua5.4,
# lua-unit, lua-busted, libgtest-dev and g++. PYTHON310 may name a Python 3.10. Other versions of the runners word some lines
# differently, so check the counts that the tests expect afterwards.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# Everything is installed and run in this folder; its path does not appear in the outputs.
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

# Saves what a command prints on both streams. That it fails is expected: most of these suites have failures.
both() { name=$1; shift; "$@" >"$work/printed" 2>&1 || true; save "$name" "$work/printed"; }
stdout() { name=$1; shift; "$@" >"$work/printed" 2>/dev/null || true; save "$name" "$work/printed"; }
# Runs a command that writes its report into a file.
run() { "$@" >/dev/null 2>&1 || true; }
# Without colours, and without anything that identifies this machine.
save() { anonymize "$2" | sed 's/\x1b\[[0-9;]*m//g' >"$out/$1"; }
anonymize() {
  sed -e "s#$work/run#/src#g" -e "s#$work#/opt#g" -e "s#$HOME#/home/user#g" -e "s#\b$(hostname)\b#host#g" "$1"
}
# One output keeps its colours.
both_coloured() { name=$1; shift; "$@" >"$work/printed" 2>&1 || true; anonymize "$work/printed" >"$out/$name"; }

cd "$work/run/python"
both pytest-rA.txt      "$bin/pytest" -rA -p no:cacheprovider test_sample.py
both pytest-v.txt       "$bin/pytest" -v -p no:cacheprovider test_sample.py
both pytest-vrA.txt     "$bin/pytest" -v -rA --no-fold-skipped -p no:cacheprovider test_sample.py
both pytest-xdist.txt   "$bin/pytest" -v -rA -n 2 -p no:cacheprovider test_sample.py
both_coloured pytest-colour.txt "$bin/pytest" -v -rA --color=yes -p no:cacheprovider test_sample.py
both pytest-crash.txt   "$bin/pytest" -v -p no:cacheprovider test_crash.py
both pytest-import.txt  "$bin/pytest" -rA -p no:cacheprovider test_unimportable.py test_none.py
both pytest-none.txt    "$bin/pytest" -rA -p no:cacheprovider test_none.py
both pytest-rerun.txt   "$bin/pytest" -v -rA -p no:cacheprovider test_rerun.py
both pytest-subtests.txt "$bin/pytest" -v -rA -p no:cacheprovider test_subtests.py
# Before Python 3.11, unittest prints other lines when a subtest fails.
[ -z "${PYTHON310-}" ] || both unittest-3.10.txt "$PYTHON310" -m unittest -v case_subtests
run "$bin/pytest" --junitxml=report.xml -p no:cacheprovider test_sample.py test_unimportable.py --continue-on-collection-errors
save pytest.xml report.xml
both unittest.txt       "$bin/python" -m unittest -v case_sample
both unittest-import.txt "$bin/python" -m unittest -v case_sample.Plain.test_passes case_unimportable
both unittest-crash.txt "$bin/python" -m unittest -v case_crash
both unittest-none.txt  "$bin/python" -m unittest -v test_none
both unittest-quiet.txt "$bin/python" -m unittest case_sample
both xmlrunner.xml      "$bin/python" -m xmlrunner --output-file report.xml case_sample
save xmlrunner.xml report.xml

cd "$work/run/django"
both django.txt         "$bin/python" -m django test -v 2 --settings=settings --pythonpath=.
both django-none.txt    "$bin/python" -m django test -v 2 --settings=settings --pythonpath=. --tag=none
both django-parallel.txt "$bin/python" -m django test -v 2 --parallel 2 --settings=settings --pythonpath=.

cd "$work/run/trial"
export PYTHONPATH="$PWD"
both trial.txt          "$bin/trial" test_sample
both trial-import.txt   "$bin/trial" test_sample.Deferred.test_fires test_unimportable
both trial-none.txt     "$bin/trial" test_sample.SetUp.no_such_test
both trial-text.txt     "$bin/trial" --reporter=text test_sample

unset PYTHONPATH
cd "$work/run/go"
both go.json            go test -json .
both go-dies.json       go test -json ./dies
both go-broken.json     go test -json ./broken ./none
run gotestsum --junitfile report.xml -- . ./dies ./broken
save gotestsum.xml report.xml

cd "$work/run/rust"
export CARGO_TARGET_DIR="$work/rust-target"
both libtest.txt        cargo test --no-fail-fast -- --test-threads 1
both libtest.json       env RUSTC_BOOTSTRAP=1 cargo test --no-fail-fast -- -Z unstable-options --format json --report-time
stdout libtest.xml   env RUSTC_BOOTSTRAP=1 cargo test --no-fail-fast --lib -- -Z unstable-options --format junit
both libtest-dies.txt   env DIE=1 cargo test --test dies -- --test-threads 1
both libtest-none.txt   cargo test --test other no_such_test
mkdir -p .config && printf '[profile.default]\nretries = 1\n[profile.default.junit]\npath = "junit.xml"\n' >.config/nextest.toml
run cargo nextest run --no-fail-fast
save nextest.xml target/nextest/default/junit.xml
unset CARGO_TARGET_DIR

cd "$work/run/lua"
both luaunit-v.txt      lua5.4 sample.lua -v
both luaunit.txt        lua5.4 sample.lua
both luaunit.tap        lua5.4 sample.lua -o tap
run lua5.4 sample.lua -o junit -n report
save luaunit.xml report.xml
both luaunit-none.txt   lua5.4 none.lua
both busted.tap         busted --lua=lua5.4 -o TAP sample_spec.lua
both busted.xml         busted --lua=lua5.4 -o junit sample_spec.lua

cd "$work/run/node"
both node.tap           node --test --test-reporter=tap sample.test.js
both node.xml           node --test --test-reporter=junit sample.test.js
both mocha.tap          "$node/mocha" --reporter tap sample.spec.js
both mocha.xml          "$node/mocha" --reporter xunit sample.spec.js
echo '{}' >package.json
run env JEST_JUNIT_OUTPUT_FILE=report.xml "$node/jest" --rootDir . --reporters "$NODE_PATH/jest-junit" --testRegex 'sample.spec.js$'
save jest-junit.xml report.xml
ln -sf "$NODE_PATH" node_modules
printf 'import { defineConfig } from "vitest/config";\nexport default defineConfig({ test: { include: ["*.vitest.mjs"] } });\n' >vitest.config.mjs
both vitest.tap         "$node/vitest" run --reporter=tap
both vitest.xml         "$node/vitest" run --reporter=junit
both tape.tap           node sample.tape.js

cd "$work/run/perl"
both perl.tap           perl sample.t
both perl-bails.tap     perl bails.t
both perl-dies.tap      perl dies.t
both perl-skips.tap     perl skips_all.t

cd "$work/run/gtest"
c++ -o sample sample.cc -I/usr/src/googletest/googletest/include -I/usr/src/googletest/googletest \
    /usr/src/googletest/googletest/src/gtest-all.cc /usr/src/googletest/googletest/src/gtest_main.cc -pthread
run ./sample --gtest_output=xml:report.xml
save gtest.xml report.xml

# Debian's bats, libgtest-dev, ruby-minitest, ruby-rspec, libghc-hspec-dev, tcl, meson, cmake, phpunit and kyua.
cd "$work/run/bats"
both bats.txt           bats --pretty --timing sample.bats
both bats.tap           bats --formatter tap sample.bats
both bats-none.txt      bats --pretty sample.bats --filter nothing
cd "$work/run/gtest"
c++ -o text text.cc -lgtest -lgtest_main -pthread
c++ -o dies dies.cc -lgtest -lgtest_main -pthread
both gtest.txt          ./text
both gtest-dies.txt     ./dies
both gtest-none.txt     ./text --gtest_filter=nothing
both gtest-repeat.txt   ./text --gtest_repeat=2 '--gtest_filter=Words.*'
cd "$work/run/ruby"
both minitest-v.txt     ruby words.rb -v --seed 1
both minitest.txt       ruby words.rb --seed 1
both rspec.txt          rspec -f d --no-color words_spec.rb
both rspec-dots.txt     rspec --no-color words_spec.rb
cd "$work/run/hspec"
ghc -O0 Spec.hs -o spec >/dev/null
both hspec.txt          ./spec --seed 1 --no-color
cd "$work/run/tcl"
both tcltest-v.txt      tclsh words.test -verbose 'start pass body error skip'
both tcltest-all.txt    tclsh all.tcl -verbose p
cd "$work/run/meson"
run meson setup build
both meson.txt          meson test -C build --no-rebuild
both meson-stop.txt     meson test -C build --no-rebuild --maxfail 1
both meson-v.txt        meson test -C build --no-rebuild -v
cd "$work/run/ctest"
run cmake -S . -B build
both ctest.txt          ctest --test-dir build
both ctest-v.txt        ctest --test-dir build -V
both ctest-stop.txt     ctest --test-dir build --stop-on-failure
cd "$work/run/perl"
both prove.txt          prove t
both prove-v.txt        prove -v t
cd "$work/run/phpunit"
both phpunit-testdox.txt phpunit --testdox WordsTest.php
both phpunit.txt        phpunit WordsTest.php
both phpunit-stop.txt   phpunit --testdox --stop-on-failure WordsTest.php
cd "$work/run/kyua"
both kyua.txt           env HOME="$work/run/home" kyua test
cd "$work/run/lua"
both busted.txt         busted --lua=lua5.4 -o utfTerminal words_spec.lua
both busted-plain.txt   busted --lua=lua5.4 -o plainTerminal words_spec.lua
both busted-gtest.txt   busted --lua=lua5.4 -o gtest words_spec.lua
cd "$work/run/nose2"
[ -x "$bin/nose2" ] || "$bin/pip" install -q nose2
both nose2.txt          "$bin/nose2" -v
