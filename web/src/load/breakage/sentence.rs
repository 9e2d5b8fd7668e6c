//! The heading of a breakage's page: what broke what.

use domain::sentences::{BreakageSentence, BrokenCounts};
use store::pages::BreakageRow;

use super::super::claims::{blame, broken, ending};
use crate::format::units::in_memory;

pub fn sentence(row: &BreakageRow, counts: &BrokenCounts) -> String {
    let title = |change: &Option<store::pages::ChangeRow>| {
        change.as_ref().map_or("a change", |change| change.title.as_str()).to_string()
    };
    let sentence = BreakageSentence {
        blame: blame(row),
        range: in_memory(row.range),
        ending: ending(row),
        broken: &broken(row, counts),
        culprit: &title(&row.culprit),
        fixer: &title(&row.fixer),
    };
    sentence.sentence()
}
