//! Which history builds a branch needs on a platform: its ends first, and the middle if workers are idle.

pub mod canary;
pub mod probation;
pub mod rewound;

/// What is known of one change's toolchain, in first-parent order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolchainCell {
    /// It has no build.
    Empty,
    /// Its build waits for a worker.
    Queued,
    /// A worker runs its build.
    Running,
    /// Its build has ended for good: passed, failed, or infra.
    Decided,
}

/// What to do with one change's toolchain build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleAction {
    /// Queue it as one of the ends of what is known.
    Tip(usize),
    /// Queue it because no other build waits.
    Backfill(usize),
    /// Take it off the queue: a newer change came before a worker did, so it is superseded.
    Supersede(usize),
}

/// Decides for one branch and platform; the indices are those of `cells`. `idle` means that workers of the platform have
/// nothing to do.
///
/// The base and the tip are always built; between them one change at a time, the middle of the widest gap, so that ranges
/// shrink as fast as workers allow and no queue can grow. Of equal gaps the newest comes first.
pub fn toolchains(cells: &[ToolchainCell], idle: bool) -> Vec<ScheduleAction> {
    let Some(tip) = cells.len().checked_sub(1) else { return Vec::new() };
    let mut actions: Vec<ScheduleAction> = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        let end = index == 0 || index == tip;
        match cell {
            ToolchainCell::Empty if end => actions.push(ScheduleAction::Tip(index)),
            ToolchainCell::Queued if !end && !idle => actions.push(ScheduleAction::Supersede(index)),
            ToolchainCell::Empty
            | ToolchainCell::Queued
            | ToolchainCell::Running
            | ToolchainCell::Decided => {}
        }
    }
    if idle && actions.is_empty() && !cells.contains(&ToolchainCell::Queued) {
        actions.extend(widest_gap(cells).map(ScheduleAction::Backfill));
    }
    // The tip before the base, since people wait for the tip.
    actions.reverse();
    actions
}

/// The middle of the longest run of empty cells.
fn widest_gap(cells: &[ToolchainCell]) -> Option<usize> {
    let mut widest: Option<(usize, usize)> = None;
    let mut start = None;
    for (index, cell) in cells.iter().chain([&ToolchainCell::Decided]).enumerate() {
        match (cell, start) {
            (ToolchainCell::Empty, None) => start = Some(index),
            (ToolchainCell::Empty, Some(_)) => {}
            (ToolchainCell::Queued | ToolchainCell::Running | ToolchainCell::Decided, Some(from)) => {
                if widest.is_none_or(|(from, to)| index - from >= to - from) {
                    widest = Some((from, index));
                }
                start = None;
            }
            (ToolchainCell::Queued | ToolchainCell::Running | ToolchainCell::Decided, None) => {}
        }
    }
    widest.map(|(from, to)| from + (to - from) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A branch as a picture: `.` empty, `q` queued, `r` running, `+` decided.
    fn wants(picture: &str, idle: bool) -> String {
        let cells: Vec<ToolchainCell> = picture
            .chars()
            .map(|c| match c {
                '.' => ToolchainCell::Empty,
                'q' => ToolchainCell::Queued,
                'r' => ToolchainCell::Running,
                '+' => ToolchainCell::Decided,
                other => panic!("no cell is drawn as {other}"),
            })
            .collect();
        let word = |action: &ScheduleAction| match action {
            ScheduleAction::Tip(i) => format!("tip {i}"),
            ScheduleAction::Backfill(i) => format!("backfill {i}"),
            ScheduleAction::Supersede(i) => format!("supersede {i}"),
        };
        toolchains(&cells, idle).iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_ends_come_first_and_the_tip_before_the_base() {
        assert_eq!(wants(".....", true), "tip 4, tip 0");
        assert_eq!(wants(".", false), "tip 0");
        assert_eq!(wants("", true), "");
    }

    #[test]
    fn the_middle_waits_until_workers_are_idle() {
        assert_eq!(wants("+...+", false), "");
        assert_eq!(wants("+...+", true), "backfill 2");
        assert_eq!(wants("+.q.+", true), "");
    }

    #[test]
    fn the_widest_gap_is_halved_and_the_newest_of_equal_ones() {
        assert_eq!(wants("+..+...+", true), "backfill 5");
        assert_eq!(wants("+..+..+", true), "backfill 5");
        assert_eq!(wants("+r.+", true), "backfill 2");
        assert_eq!(wants("++++", true), "");
    }

    #[test]
    fn a_queued_change_is_superseded_by_a_newer_one_if_no_worker_is_idle() {
        assert_eq!(wants("+..q.", false), "tip 4, supersede 3");
        assert_eq!(wants("+..r.", false), "tip 4");
        assert_eq!(wants("+..q", false), "");
    }

    #[test]
    fn a_burst_of_500_changes_needs_two_builds() {
        assert_eq!(wants(&".".repeat(500), false), "tip 499, tip 0");
    }
}
