//! How a culprit's row is joined to the cells that it broke: a beam along its row, and in each broken column a rail
//! that rises from the beam, through every build that still failed, to the fix or to the top.

use super::Row;
use super::rails::{BreakageRail, Rail, RailPart};

/// At most this many rails stand side by side; further ones share the last lane.
const MAX_LANES: usize = 3;

/// Puts the rails into the rows' cells and the beams into the culprits' rows. Returns how many lanes each column needs.
pub fn lay_rails(rows: &mut [Row], columns: usize, ranges: &[BreakageRail]) -> Vec<usize> {
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
    fn picture(rows: usize, ranges: &[BreakageRail]) -> String {
        let mut lines: Vec<Row> = (0..rows).map(|_| empty_row()).collect();
        lay_rails(&mut lines, 1, ranges);
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
        let cells = vec![WaterfallCell { content: CellContent::Nothing, evidence: vec![], rails: vec![] }];
        Row { day: None, position: 0, change, toolchain_inputs: vec![], culprit: None, reach: None, cells }
    }

    fn named(from: Option<usize>, fixed: Option<usize>) -> BreakageRail {
        BreakageRail { column: 0, breakage: 1, culprit: Some(1), from, bad: from, fixed }
    }

    fn searching(from: usize, bad: usize) -> BreakageRail {
        BreakageRail { column: 0, breakage: 1, culprit: None, from: Some(from), bad: Some(bad), fixed: None }
    }

    #[test]
    fn a_rail_rises_from_its_culprit_to_the_top_or_to_the_fix() {
        assert_eq!(picture(5, &[named(Some(3), None)]), "^ | | + .");
        assert_eq!(picture(5, &[named(Some(3), Some(1))]), ". - | + .");
    }

    #[test]
    fn the_rail_of_a_culprit_below_the_window_is_shown() {
        assert_eq!(picture(4, &[named(None, Some(2))]), ". . - |");
        assert_eq!(picture(3, &[named(None, None)]), "^ | |");
    }

    #[test]
    fn suspects_are_dotted_up_to_the_oldest_failing_build() {
        assert_eq!(picture(6, &[searching(4, 2)]), "^ | : : : .");
    }

    #[test]
    fn two_rails_that_overlap_stand_side_by_side() {
        let mut rows: Vec<Row> = (0..4).map(|_| empty_row()).collect();
        assert_eq!(lay_rails(&mut rows, 1, &[named(Some(3), None), named(Some(1), None)]), [2]);
        assert_eq!(picture(4, &[named(Some(3), None), named(Some(1), None)]), "^^ |+ | +");
    }

    #[test]
    fn any_number_of_rails_fits_into_the_lanes() {
        let many: Vec<BreakageRail> = (0..9).map(|_| named(None, None)).collect();
        let mut rows: Vec<Row> = (0..3).map(|_| empty_row()).collect();
        assert_eq!(lay_rails(&mut rows, 1, &many), [MAX_LANES]);
    }
}
