//! A problem of a configuration, described so that its author can fix it without help: where it is, what was found and what
//! was expected. All problems are reported at once, because fixing one error per run is a bad afternoon.

use std::fmt;
use std::path::PathBuf;

/// A longer list does not help: most of its problems have one cause.
const MAX_SHOWN: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConfigProblem {
    pub file: PathBuf,
    /// None if the problem is about the file as a whole.
    pub at: Option<FilePosition>,
    /// The key's full name, such as `trunk.recipe.steps.run`; empty if the problem is about no key.
    pub key: String,
    pub message: String,
}

/// Both count from 1, as editors do; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePosition {
    pub line: usize,
    pub column: usize,
}

/// At least one problem, in the order of the files and of their lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblems(pub Vec<ConfigProblem>);

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.file.to_string_lossy()))?;
        if let Some(at) = self.at {
            write!(f, ":{}", at.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(MAX_SHOWN).enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for ConfigProblems {}

/// A text from the file, in backquotes: short, on one line, and without control characters for a terminal.
pub(super) fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    let short: String = text.chars().take(MAX_CHARS).collect();
    let more = if short.len() < text.len() { "..." } else { "" };
    format!("`{}{more}`", printable(&short))
}

fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}
