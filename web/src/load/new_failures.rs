//! Loads the cases that are new and fail from their first run on: one line for each builder and change.

use domain::notice::new_failure;
use store::pages::NewFailureRow;

use super::rows::{builder, change};
use crate::pages::NewFailureLine;

/// How many cases a line names before the rest is counted.
const MAX_CASES: usize = 8;

pub fn new_failure_lines(rows: Vec<NewFailureRow>) -> Vec<NewFailureLine> {
    let mut lines: Vec<NewFailureLine> = Vec::new();
    for row in rows {
        let is_same = |line: &&mut NewFailureLine| {
            line.builder.id == row.builder.id
                && line.change.sha == row.since.sha
                && line.with_inputs == row.with_inputs
        };
        match lines.last_mut().filter(is_same) {
            Some(line) if line.cases.len() < MAX_CASES => line.cases.push(row.case),
            Some(line) => line.more_cases += 1,
            None => lines.push(NewFailureLine {
                text: new_failure::since(&row.builder.trunk, &row.since.sha, row.with_inputs),
                builder: builder(row.builder),
                change: change(row.since),
                with_inputs: row.with_inputs,
                cases: vec![row.case],
                more_cases: 0,
            }),
        }
    }
    lines
}
