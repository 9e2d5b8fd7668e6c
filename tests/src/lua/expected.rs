//! What a farm must find in the demonstration's repositories, and nothing else.

use anyhow::Context;
use protocol::Verdict;

use super::{Change, history};

/// One thing to find. A project that breaks twice has two entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub subject: Subject,
    pub finding: Finding,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The toolchain itself.
    Trunk,
    Project(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Broken {
        culprit: Change,
        /// The cases that fail from then on, besides `step:test`, which fails whenever a case does.
        cases: Vec<Case>,
        /// The change that repairs them; without one they fail up to the tip.
        fixed_by: Option<Change>,
    },
    /// This case fails now and then, whatever the change.
    Flaky { case: String },
    /// It stays green from the base to the tip.
    Nothing,
}

/// What a case does once it is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub verdict: Verdict,
}

pub(super) fn all(changes: &[Change]) -> anyhow::Result<Vec<Expected>> {
    let change = |title: &str| {
        let found = changes.iter().find(|change| change.title == title);
        found.cloned().with_context(|| format!("the trunk has no change \"{title}\""))
    };
    let project = |name: &str, finding: Finding| Expected { subject: Subject::Project(name.into()), finding };
    let for_good = |title: &str, verdict: Verdict, names: &[&str]| -> anyhow::Result<Finding> {
        Ok(Finding::Broken { culprit: change(title)?, cases: cases(verdict, names), fixed_by: None })
    };
    Ok(vec![
        Expected {
            subject: Subject::Trunk,
            finding: Finding::Broken {
                culprit: change(history::NOT_COMPILING)?,
                cases: cases(Verdict::Fail, &["step:compile"]),
                fixed_by: Some(change(history::COMPILING_AGAIN)?),
            },
        },
        project("cage", for_good("Lua 5.2.4", Verdict::Fail, NEED_SETFENV)?),
        project("vector", for_good("Lua 5.2.4", Verdict::Fail, NEED_UNPACK)?),
        project("vector", for_good("Lua 5.3.6", Verdict::Fail, NEED_POW)?),
        project("ledger", for_good("Lua 5.3.6", Verdict::Fail, NEED_WHOLE_QUOTIENTS)?),
        project("gather", for_good("Lua 5.4.9", Verdict::Fail, &["step:compile"])?),
        project(
            "csv",
            Finding::Broken {
                culprit: change(history::QUIETLY_BROKEN)?,
                cases: cases(Verdict::Fail, &["an empty field may end the text"]),
                fixed_by: Some(change(history::QUIETLY_MENDED)?),
            },
        ),
        project("template", for_good("Lua 5.5.1", Verdict::Skip, ALL_OF_TEMPLATE)?),
        project("pretty", for_good(history::GLOBAL_RESERVED, Verdict::Fail, NEED_A_NAME_GLOBAL)?),
        project("retry", Finding::Flaky { case: "three clients do not come back at once".into() }),
        project("ini", Finding::Nothing),
    ])
}

fn cases(verdict: Verdict, names: &[&str]) -> Vec<Case> {
    names.iter().map(|name| Case { name: name.to_string(), verdict }).collect()
}

const NEED_SETFENV: &[&str] =
    &["code sees what it is allowed", "code does not see the rest", "globals of a run stay in the run"];
const NEED_UNPACK: &[&str] = &["components come back in order", "each vector is handed over as arguments"];
const NEED_POW: &[&str] = &["the first norm is the way a taxi takes", "the second norm is the length"];
/// Told as JUnit.
const NEED_WHOLE_QUOTIENTS: &[&str] =
    &["a whole average is written without a fraction", "whole amounts are exported without a fraction"];
const NEED_A_NAME_GLOBAL: &[&str] =
    &["globals are found and sorted", "locals are no globals", "fields are no globals"];
const ALL_OF_TEMPLATE: &[&str] = &[
    "a name is filled in",
    "a missing name is empty",
    "values are escaped",
    "three braces do not escape",
    "a path leads into tables",
    "a list repeats its section",
    "a list of tables gives names",
    "a section over nothing is left out",
    "an inverted section shows when there is nothing",
    "comments vanish",
    "a section that is never closed is an error",
    "a wrong close is an error",
];
