//! Loads where the toolchain inputs of a branch changed.

use domain::project_inputs::toolchain::differs;
use store::pages::{SwitchRow, SwitchedCase};
use store::{Read, Result};

use super::rows::{builder, change};
use crate::format::log_text::without_escapes;
use crate::format::units::{Moment, row_count};
use crate::pages::SwitchLine;

/// Changes of recipes and compilers are rare.
const MAX_SWITCHES: i64 = 50;
/// Cases that are named; of more, only that there are more.
const MAX_CASES: i64 = 20;

/// The last changes of toolchain inputs on a branch, newest first, without the cases that differ.
pub async fn switches(read: &mut Read<'_>, branch: i64) -> Result<Vec<SwitchLine>> {
    let rows = read.switch_rows(branch, MAX_SWITCHES).await?;
    Ok(rows.into_iter().map(|row| line(row, &[])).collect())
}

/// The last few of them with the cases that differ there, for the operator.
pub async fn switches_with_cases(read: &mut Read<'_>, branch: i64, most: i64) -> Result<Vec<SwitchLine>> {
    let mut lines = Vec::new();
    for row in read.switch_rows(branch, most).await? {
        let cases = read.switched_cases(row.id, MAX_CASES + 1).await?;
        lines.push(line(row, &cases));
    }
    Ok(lines)
}

fn line(row: SwitchRow, cases: &[SwitchedCase]) -> SwitchLine {
    let shown = usize::try_from(MAX_CASES).unwrap_or(usize::MAX);
    SwitchLine {
        words: differs(row.old.as_ref(), &row.new).iter().map(|words| without_escapes(words)).collect(),
        cases: cases.iter().take(shown).map(case).collect(),
        has_more_cases: row_count(cases.len()) > MAX_CASES,
        builder: builder(row.builder),
        change: change(row.change),
        build: row.build,
        since: Moment(row.since.0),
    }
}

fn case(case: &SwitchedCase) -> String {
    let of = case.project.as_deref().unwrap_or("the toolchain");
    let name = without_escapes(&case.case);
    match case.was {
        Some(was) => format!("{of}: {name} {} is now {}", was.as_str(), case.became.as_str()),
        None => format!("{of}: {name} is new: {}", case.became.as_str()),
    }
}
