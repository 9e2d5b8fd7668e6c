//! Each rule on a small workspace, once kept and once broken.

use std::fs;

use crate::circles;
use crate::report::measure;
use crate::source::Crate;

/// A workspace of one crate, `web`, that breaks no rule; the given files come to it, or replace its own.
const WORKSPACE: [(&str, &str); 6] = [
    ("Cargo.toml", "[workspace]\nmembers = ['web']"),
    ("web/Cargo.toml", ""),
    ("web/src/lib.rs", ""),
    ("tests/shape/stages.toml", ""),
    ("tests/shape/allowed.toml", "[collisions]\n[dependencies]"),
    ("tests/shape/retired.toml", "[words]"),
];

/// The violations of one rule, without how to mend them.
fn broken(rule: &str, files: &[(&str, &str)]) -> Vec<String> {
    let root = tempfile::tempdir().expect("a temporary folder");
    for (path, text) in WORKSPACE.iter().chain(files) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let report = measure(root.path()).expect("a workspace that can be read");
    let found = report.violations.iter().filter(|(broken, _)| *broken == rule);
    found.map(|(_, violation)| violation.split(';').next().unwrap_or_default().trim().to_owned()).collect()
}

const LIB: &str = "web/src/lib.rs";
const A: &str = "web/src/a.rs";
const B: &str = "web/src/b.rs";

#[test]
fn an_import_in_one_direction_is_no_circle() {
    let files = [(LIB, "mod a; mod b; pub use a::X;"), (A, "pub struct X;"), (B, "use crate::a::X;")];
    assert_eq!(broken("circles", &files), [""; 0]);
}

#[test]
fn a_reexport_does_not_hide_a_circle() {
    let files = [
        (LIB, "mod a; mod b; pub use a::X; pub use b::Y as Z;"),
        (A, "use crate::Z;\npub struct X;"),
        (B, "use crate::X;\npub struct Y;"),
    ];
    let expected = [
        "web/src/a.rs:1: 2 files import each other in a circle",
        "web/src/a.rs:1: `crate::Z` is defined in web/src/b.rs",
        "web/src/b.rs:1: `crate::X` is defined in web/src/a.rs",
    ];
    assert_eq!(broken("circles", &files), expected);
}

/// How many files stand in circles, for a crate root that declares `a`, and for `a`.
fn circle_of(root: &str, a: &str) -> usize {
    let files = [(LIB, &*format!("pub mod a; pub struct Root; {root}")), (A, a)];
    broken("circles", &files).iter().filter(|line| line.contains("is defined in")).count()
}

#[test]
fn a_circle_is_seen_through_each_way_to_name_an_item() {
    let up = "use super::Root; pub struct X; pub fn x() {}";
    assert_eq!(circle_of("use a::X;", up), 2, "an import");
    assert_eq!(circle_of("fn f() { a::x() }", up), 2, "a path");
    assert_eq!(circle_of("fn f() { println!(\"{}\", self::a::x()) }", up), 2, "within a macro");
    assert_eq!(circle_of("use a as b; type Y = b::X;", up), 2, "a module by another name");
    assert_eq!(circle_of("use a::*; type Y = X;", up), 2, "a glob");
    assert_eq!(circle_of("use a::*;", up), 2, "a glob of which no name is known");
    assert_eq!(circle_of("pub use a::X; type Y = X;", up), 2, "a name that is exported, too");
    assert_eq!(
        circle_of("use a::X;", "mod within { use super::super::Root; } pub struct X;"),
        2,
        "an inline module"
    );
}

#[test]
fn what_only_declares_exports_or_tests_makes_no_circle() {
    let up = "use super::Root; pub struct X; pub fn x() {}";
    assert_eq!(circle_of("pub use a::X;", up), 0);
    assert_eq!(circle_of("use a::x as y; fn z() {}", "pub fn x() {}"), 0);
    assert_eq!(circle_of("/// For tests.\n#[cfg(test)] use a::{X, x}; fn z() {}", up), 0);
    assert_eq!(circle_of("struct S; impl S { #[cfg(test)] fn f() { a::x() } fn g() {} }", up), 0);
    assert_eq!(circle_of("#[cfg(test)] mod b { fn f() { crate::a::x() } }", up), 0);
    assert_eq!(circle_of("fn f() { ::a::x(); other::a::x() }", up), 0);
}

#[test]
fn a_stage_imports_none_above_it() {
    let stages = |text| {
        [
            ("tests/shape/stages.toml", text),
            (LIB, "mod a; mod b;"),
            (A, "pub struct X;"),
            (B, "use crate::a::X;"),
        ]
    };
    assert_eq!(broken("stages", &stages("web = ['a', 'b', 'lib']")), [""; 0]);
    assert_eq!(broken("stages", &stages("web = [['b', 'a'], 'lib']")), [""; 0], "one stage");
    let expected = ["web/src/b.rs:1: stage `b` imports `crate::a::X` (web/src/a.rs) of the higher stage `a`"];
    assert_eq!(broken("stages", &stages("web = ['b', 'a', 'lib']")), expected);
    let expected =
        ["web/src/lib.rs:1: is in no stage", "tests/shape/stages.toml: web's stage `gone` has no file"];
    assert_eq!(broken("stages", &stages("web = ['a', 'b', 'gone']")), expected);
    let expected = ["tests/shape/stages.toml: `wep` is no member"];
    assert_eq!(broken("stages", &stages("wep = ['a']")), expected);
}

#[test]
fn a_type_name_stands_for_one_type() {
    let source = (LIB, "pub struct X; mod m { pub(crate) enum Y {} fn f() { pub trait X {} } } type Y = u8;");
    let allowed = |text| ("tests/shape/allowed.toml", text);
    let expected = ["web/src/lib.rs:1: `X` also names a type at web/src/lib.rs:1"];
    assert_eq!(broken("type names", &[source]), expected);
    assert_eq!(broken("type names", &[source, allowed("collisions.X = 'why'\n[dependencies]")]), [""; 0]);
    let stale = "collisions = { X = 'why', Y = 'why' }\n[dependencies]";
    let expected = ["tests/shape/allowed.toml: `Y` does not name two types"];
    assert_eq!(broken("type names", &[source, allowed(stale)]), expected);
    let ten: String =
        (0..10).map(|nth| format!("pub struct X{nth}; mod m{nth} {{ pub enum X{nth} {{}} }}")).collect();
    assert_eq!(broken("type names", &[(LIB, &ten)]).len(), 11);
}

#[test]
fn a_shells_function_is_short() {
    let function = |lines: usize| {
        format!("struct S;\nimpl S {{\n#[inline]\npub fn f() {{{}}}}}", "\n".repeat(lines - 1))
    };
    assert_eq!(broken("long functions", &[(LIB, &function(60))]), [""; 0]);
    let expected = ["web/src/lib.rs:4: `f` has 61 lines, at most 60"];
    assert_eq!(broken("long functions", &[(LIB, &function(61))]), expected);
}

#[test]
fn a_function_has_six_parameters_at_most() {
    let source = "trait T { fn six(&self, a: u8, b: u8, c: u8, d: u8, e: u8); fn seven(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8); }";
    assert_eq!(
        broken("parameters", &[(LIB, source)]),
        ["web/src/lib.rs:1: `seven` has 7 parameters, at most 6"]
    );
}

#[test]
fn casts_of_numbers_are_rare() {
    let casts =
        |count: usize| format!("fn f() {{ {} X as Y; assert!(1 as u8); }}", "1 as f64;".repeat(count - 1));
    assert_eq!(broken("casts", &[(LIB, &casts(39))]), [""; 0]);
    assert_eq!(broken("casts", &[(LIB, &casts(40))]).len(), 41, "each, and the sum");
}

#[test]
fn retired_words_do_not_come_back() {
    let words = |exceptions| ("tests/shape/retired.toml", exceptions);
    let source = (LIB, "fn told_fixed() { Told; untold; FORETOLD; LastWords; last_word; }");
    let told = "words = { told = '`report`', last_words = '`close reason`' }\n";
    let expected = ["LastWords", "Told", "told_fixed"]
        .map(|it| format!("web/src/lib.rs:1: `{it}` (once) has the retired word"));
    let found = broken("retired words", &[source, words(told)]);
    assert!(
        found.len() == 3 && found.iter().zip(&expected).all(|(one, start)| one.starts_with(start)),
        "{found:?}"
    );
    let excused = format!(
        "{told}exceptions = {{ Told = 'why', told_fixed = 'why', LastWords = 'why', other = 'why' }}"
    );
    let expected = ["tests/shape/retired.toml: `other` needs no exception"];
    assert_eq!(broken("retired words", &[source, words(&excused)]), expected);
}

#[test]
fn a_dependency_is_named_by_a_source() {
    let manifest = (
        "web/Cargo.toml",
        "dependencies = { a-b = '1', c = { package = 'x' }, d = '1' }\ndev-dependencies.e = '1'",
    );
    let sources = [(LIB, "use a_b; /* d:: */"), ("web/tests/t.rs", "fn f() { c::f(); let d = 1; }")];
    let allowed =
        ("tests/shape/allowed.toml", "[collisions]\n[dependencies]\n'web/e' = 'why'\n'web/c' = 'why'");
    let expected = [
        "web/Cargo.toml: no source names `d` of [dependencies]",
        "tests/shape/allowed.toml: `web/c` needs no excuse",
    ];
    assert_eq!(broken("dependencies", &[manifest, sources[0], sources[1], allowed]), expected);
}

#[test]
fn modules_have_one_style_and_each_file_is_one() {
    let within = ("web/src/a/within.rs", "");
    let tests = [("web/src/tests.rs", "mod more;"), ("web/src/more.rs", "")];
    let root = (LIB, "mod a; #[cfg(test)] mod tests;");
    assert_eq!(
        broken("module files", &[root, ("web/src/a/mod.rs", "mod within;"), within, tests[0]]),
        [""; 0]
    );
    let expected =
        ["web/src/a.rs:1: lies beside a folder of its name", "web/src/more.rs:1: no `mod` names this file"];
    assert_eq!(broken("module files", &[root, (A, "mod within;"), within, tests[0], tests[1]]), expected);
}

#[test]
fn lines_of_tests_are_counted_apart() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let source = root.path().join("web/src");
    fs::create_dir_all(&source).expect("a folder");
    fs::write(source.join("lib.rs"), "fn f() {}\n\n/// Why.\n#[cfg(test)]\nmod tests;\n").expect("a file");
    fs::write(source.join("tests.rs"), "fn g() {}\nfn h() {}\n").expect("a file");
    let krate = Crate::load(root.path(), "web").expect("a crate");
    assert_eq!((krate.files[0].lines, krate.test_lines), (2, 5));
}

#[test]
fn floors_count_each_circle_once() {
    let edges = [(0, 1), (1, 2), (2, 1), (2, 3)].map(|edge| (edge, (1, String::new()))).into_iter().collect();
    let circles = circles::of(5, &edges);
    assert_eq!((circles.floors, circles.files()), (3, 2));
}
