//! How many lines of Rust each crate has, tests apart.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::table::Table;

const CRATES: [&str; 7] = ["protocol", "domain", "store", "web", "master", "worker", "tests"];

#[derive(Default, Clone, Copy)]
struct Lines {
    code: usize,
    tests: usize,
}

pub fn count(table: &mut Table) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate lies in the workspace");
    let mut all = Lines::default();
    for name in CRATES {
        let mut lines = Lines::default();
        walk(&root.join(name), name == "tests", &mut lines)?;
        table.row(
            format!("lines of Rust: {name}"),
            lines.code.to_string(),
            format!("+ {} of tests", lines.tests),
        );
        all = Lines { code: all.code + lines.code, tests: all.tests + lines.tests };
    }
    table.row("lines of Rust: all", all.code.to_string(), format!("+ {} of tests", all.tests));
    Ok(())
}

/// A file or folder called `tests` contains tests, and so does everything after `#[cfg(test)] mod tests {`.
fn walk(path: &Path, within_tests: bool, lines: &mut Lines) -> Result<()> {
    if path.is_dir() {
        let in_tests = within_tests || path.ends_with("tests");
        for entry in fs::read_dir(path)? {
            walk(&entry?.path(), in_tests || path.ends_with("src/tests"), lines)?;
        }
        return Ok(());
    }
    if path.extension().is_none_or(|extension| extension != "rs") {
        return Ok(());
    }
    let text = fs::read_to_string(path)?;
    let count = text.lines().count();
    let code = match (within_tests || path.ends_with("tests.rs"), text.find("#[cfg(test)]\nmod tests {")) {
        (true, _) => 0,
        (false, Some(at)) => text[..at].lines().count(),
        (false, None) => count,
    };
    lines.code += code;
    lines.tests += count - code;
    Ok(())
}
