//! Measures the shape of the production code, prints it as one table, and fails when a rule is broken.
//! `make check` runs it at the workspace's root; another root may be given as the only argument.

mod casts;
mod circles;
mod dependencies;
mod edges;
mod functions;
mod names;
mod report;
mod retired;
mod source;
mod stages;
#[cfg(test)]
mod tests;
mod tokens;
mod types;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let root = std::env::args_os().nth(1).map_or(PathBuf::from("."), PathBuf::from);
    let report = report::measure(&root)?;
    print!("{report}");
    Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
