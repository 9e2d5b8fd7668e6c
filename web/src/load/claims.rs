//! Rows of breakages as `domain::sentences` needs them, so that all pages use the words of mails.

use domain::sentences::{Blame, Broken, BrokenCounts, Ending, RepairClaim};
use store::pages::BreakageRow;
use store::{Read, Result};

use super::rows::subject;
use crate::format::units::in_memory;

/// A breakage with the counts of its cases.
pub struct CountedBreakage {
    pub row: BreakageRow,
    pub counts: BrokenCounts,
}

/// Counts the cases of each breakage by itself.
pub async fn count_each(read: &mut Read<'_>, rows: Vec<BreakageRow>) -> Result<Vec<CountedBreakage>> {
    let groups: Vec<(usize, i64)> = rows.iter().map(|row| row.id).enumerate().collect();
    let mut counts = read.case_counts(&groups).await?;
    let counted = rows.into_iter().enumerate();
    Ok(counted
        .map(|(at, row)| CountedBreakage { row, counts: counts.remove(&at).unwrap_or_default() })
        .collect())
}

/// What each group of breakages is together.
pub async fn broken_of_groups(read: &mut Read<'_>, groups: &[Vec<&BreakageRow>]) -> Result<Vec<Broken>> {
    let ids: Vec<(usize, i64)> =
        groups.iter().enumerate().flat_map(|(at, group)| group.iter().map(move |row| (at, row.id))).collect();
    let mut counts = read.case_counts(&ids).await?;
    let broken = groups.iter().enumerate().map(|(at, group)| {
        let names = group.iter().map(|row| subject(&row.builder).to_string());
        Broken::new(names, counts.remove(&at).unwrap_or_default())
    });
    Ok(broken.collect())
}

/// What one breakage is.
pub fn broken(row: &BreakageRow, counts: &BrokenCounts) -> Broken {
    Broken::new([subject(&row.builder).to_string()], counts.clone())
}

pub fn blame(row: &BreakageRow) -> Blame {
    Blame::new(row.state, row.found, in_memory(row.suspects))
}

pub fn repair(row: &BreakageRow) -> Option<RepairClaim> {
    row.fixer.as_ref()?;
    let is_by_project = row.fixed_at.is_some() && row.fixed_at == row.fixed_after;
    Some(RepairClaim::new(is_by_project, in_memory(row.repair_range)))
}

pub fn ending(row: &BreakageRow) -> Ending {
    Ending::new(row.state, repair(row))
}
