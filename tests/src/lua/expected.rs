//! What a farm must find on the demonstration's ground, and nothing else.

use anyhow::Context;
use protocol::Verdict;

use super::{Change, history};

/// One thing to find. A project that breaks twice is there twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub whose: Whose,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// The toolchain itself.
    Trunk,
    Project(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Broken {
        culprit: Change,
        /// The cases that went bad, beside `step:test`, which goes bad with a failing one.
        cases: Vec<Case>,
        /// The change that made them good again; they stay bad to the tip when there is none.
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
    let project = |name: &str, what: What| Expected { whose: Whose::Project(name.into()), what };
    let for_good = |title: &str, verdict: Verdict, names: &[&str]| -> anyhow::Result<What> {
        Ok(What::Broken { culprit: change(title)?, cases: cases(verdict, names), fixed_by: None })
    };
    Ok(vec![
        Expected {
            whose: Whose::Trunk,
            what: What::Broken {
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
            What::Broken {
                culprit: change(history::QUIETLY_BROKEN)?,
                cases: cases(Verdict::Fail, &["an empty field may end the text"]),
                fixed_by: Some(change(history::QUIETLY_MENDED)?),
            },
        ),
        project("template", for_good("Lua 5.5.1", Verdict::Skip, ALL_OF_TEMPLATE)?),
        project("pretty", for_good(history::GLOBAL_RESERVED, Verdict::Fail, NEED_A_NAME_GLOBAL)?),
        project("retry", What::Flaky { case: "three clients do not come back at once".into() }),
        project("ini", What::Nothing),
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
