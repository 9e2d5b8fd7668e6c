//! How a culprit's row is joined to the cells it broke: a beam along its row, and in each broken column a rail
//! that rises from the beam, through every build that was still bad, to the fix or to the top.

use serde::Serialize;

use super::Row;

/// A breakage, as far as the window shows it. Rows are counted from 0 at the newest change.
#[derive(Debug, Clone)]
pub struct BreakageRail {
    pub column: usize,
    pub breakage: i64,
    /// The culprit's number; none while the search is under way.
    pub culprit: Option<usize>,
    /// The row of the culprit, or of the oldest suspect; none when it lies below the window.
    pub from: Option<usize>,
    /// The row of the first bad build that was seen: suspects end there.
    pub bad: Option<usize>,
    /// The row of the fix; none while it is open or the fix lies above the window.
    pub fixed: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rail {
    pub breakage: i64,
    pub culprit: Option<usize>,
    pub part: RailPart,
    pub lane: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RailPart {
    /// The culprit's own row: here it began.
    Start,
    Through,
    /// One of the changes it may have been.
    Suspect,
    /// The change that mended it.
    Fixed,
    /// The newest row, and it is still open.
    Open,
}

impl RailPart {
    pub fn as_str(self) -> &'static str {
        match self {
            RailPart::Start => "start",
            RailPart::Through => "through",
            RailPart::Suspect => "suspect",
            RailPart::Fixed => "fixed",
            RailPart::Open => "open",
        }
    }
}

impl Rail {
    pub fn hue(&self) -> String {
        super::hue(self.culprit)
    }
}

/// No more rails than these stand side by side; a further one shares the last lane.
const MAX_LANES: usize = 3;

/// Puts the rails into the rows' cells and the beams onto the culprits' rows. Returns how many lanes each
/// column needs.
pub fn lay(rows: &mut [Row], columns: usize, ranges: &[BreakageRail]) -> Vec<usize> {
    let mut lanes = vec![0; columns];
    let oldest = rows.len();
    for range in ranges {
        let top = range.fixed.unwrap_or(0);
        let bottom = range.from.map_or(oldest, |row| row + 1);
        if bottom <= top || range.column >= columns {
            continue;
        }
        let lane = free_lane(&rows[top..bottom], range.column);
        lanes[range.column] = lanes[range.column].max(lane + 1);
        for (row, line) in rows.iter_mut().enumerate().take(bottom).skip(top) {
            let part = part(range, row);
            if part == RailPart::Start && range.culprit.is_some() {
                line.reach = line.reach.max(Some(range.column));
            }
            let rail = Rail { breakage: range.breakage, culprit: range.culprit, part, lane };
            line.cells[range.column].rails.push(rail);
        }
    }
    lanes
}

fn part(range: &BreakageRail, row: usize) -> RailPart {
    let searching = range.culprit.is_none();
    if range.fixed == Some(row) {
        RailPart::Fixed
    } else if searching && range.bad.is_none_or(|bad| row >= bad) {
        RailPart::Suspect
    } else if range.from == Some(row) {
        RailPart::Start
    } else if row == 0 {
        RailPart::Open
    } else {
        RailPart::Through
    }
}

fn free_lane(rows: &[Row], column: usize) -> usize {
    let taken = |lane| rows.iter().any(|row| row.cells[column].rails.iter().any(|rail| rail.lane == lane));
    (0..MAX_LANES).find(|lane| !taken(*lane)).unwrap_or(MAX_LANES - 1)
}

#[cfg(test)]
mod tests {
    use super::super::{CellContent, WaterfallCell};
    use super::*;
    use crate::format::units::Moment;
    use crate::pages::ChangeLine;

    /// One column as a picture, newest first: `^` open, `|` through, `+` start, `-` fixed, `:` suspect.
    fn drawn(rows: usize, ranges: &[BreakageRail]) -> String {
        let mut lines: Vec<Row> = (0..rows).map(|_| empty_row()).collect();
        lay(&mut lines, 1, ranges);
        let glyph = |rail: &Rail| match rail.part {
            RailPart::Open => "^",
            RailPart::Through => "|",
            RailPart::Start => "+",
            RailPart::Fixed => "-",
            RailPart::Suspect => ":",
        };
        let cell = |row: &Row| match row.cells[0].rails.as_slice() {
            [] => ".".to_string(),
            rails => rails.iter().map(glyph).collect(),
        };
        lines.iter().map(cell).collect::<Vec<_>>().join(" ")
    }

    fn empty_row() -> Row {
        let change = ChangeLine {
            sha: "0".repeat(40),
            title: String::new(),
            author: String::new(),
            committed_at: Moment(0),
        };
        let cells = vec![WaterfallCell { content: CellContent::Nothing, extras: vec![], rails: vec![] }];
        Row { day: None, position: 0, change, culprit: None, reach: None, cells }
    }

    fn named(from: Option<usize>, fixed: Option<usize>) -> BreakageRail {
        BreakageRail { column: 0, breakage: 1, culprit: Some(1), from, bad: from, fixed }
    }

    fn searching(from: usize, bad: usize) -> BreakageRail {
        BreakageRail { column: 0, breakage: 1, culprit: None, from: Some(from), bad: Some(bad), fixed: None }
    }

    #[test]
    fn a_rail_rises_from_its_culprit_to_the_top_or_to_the_fix() {
        assert_eq!(drawn(5, &[named(Some(3), None)]), "^ | | + .");
        assert_eq!(drawn(5, &[named(Some(3), Some(1))]), ". - | + .");
    }

    #[test]
    fn a_culprit_below_the_window_leaves_its_rail() {
        assert_eq!(drawn(4, &[named(None, Some(2))]), ". . - |");
        assert_eq!(drawn(3, &[named(None, None)]), "^ | |");
    }

    #[test]
    fn suspects_are_dotted_up_to_the_first_bad_build() {
        assert_eq!(drawn(6, &[searching(4, 2)]), "^ | : : : .");
    }

    #[test]
    fn two_rails_that_overlap_stand_side_by_side() {
        let mut rows: Vec<Row> = (0..4).map(|_| empty_row()).collect();
        assert_eq!(lay(&mut rows, 1, &[named(Some(3), None), named(Some(1), None)]), [2]);
        assert_eq!(drawn(4, &[named(Some(3), None), named(Some(1), None)]), "^^ |+ | +");
    }

    #[test]
    fn rails_without_end_share_the_last_lane_and_still_fit() {
        let many: Vec<BreakageRail> = (0..9).map(|_| named(None, None)).collect();
        let mut rows: Vec<Row> = (0..3).map(|_| empty_row()).collect();
        assert_eq!(lay(&mut rows, 1, &many), [MAX_LANES]);
    }
}
