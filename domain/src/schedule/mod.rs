//! Which history builds a branch needs on a platform: its ends first, and what is between them if workers are idle.

pub mod canary;
pub mod needed;
pub mod probation;
pub mod sample;

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

/// After so many backfill builds the oldest gap has its turn.
const OLDEST_EVERY: usize = 4;
const LAST_TURN: usize = OLDEST_EVERY - 1;

/// Ranges of changes in which idle workers build first: the changes after the first one of each up to the second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedRanges {
    /// The good and the bad change of each breakage without an answer.
    pub open: Vec<(usize, usize)>,
    /// The last bad and the first good change of each repair.
    pub repairs: Vec<(usize, usize)>,
}

/// Decides for one branch and platform; the indices are those of `cells`, and `backfilled` says how many backfill builds were
/// made. `idle` means that workers of the platform have nothing to do.
///
/// The base and the tip are always built; between them one change at a time, the middle of a gap, so that no queue can grow.
/// The range of a breakage without an answer comes first, then that of a repair, so that one change is known to have made
/// it, then the widest gap, so that ranges shrink as fast as workers allow; of equal gaps the newest. Each fourth build goes
/// to the oldest gap, which new changes would starve otherwise.
pub fn toolchains(
    cells: &[ToolchainCell],
    wanted: &WantedRanges,
    backfilled: usize,
    idle: bool,
) -> Vec<ScheduleAction> {
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
        actions.extend(backfill(cells, wanted, backfilled).map(ScheduleAction::Backfill));
    }
    // The tip before the base, since people wait for the tip.
    actions.reverse();
    actions
}

/// The middle of the gap whose turn it is.
fn backfill(cells: &[ToolchainCell], wanted: &WantedRanges, backfilled: usize) -> Option<usize> {
    let gaps = gaps(cells);
    let widest =
        |gaps: &mut dyn Iterator<Item = &(usize, usize)>| gaps.max_by_key(|(from, to)| to - from).copied();
    let widest_of = |ranges: &[(usize, usize)]| {
        let is_within =
            |&&(from, to): &&(usize, usize)| ranges.iter().any(|&(before, end)| from > before && to <= end);
        widest(&mut gaps.iter().filter(is_within))
    };
    let (from, to) = match backfilled % OLDEST_EVERY {
        LAST_TURN => gaps.first().copied(),
        _ => widest_of(&wanted.open)
            .or_else(|| widest_of(&wanted.repairs))
            .or_else(|| widest(&mut gaps.iter())),
    }?;
    Some(from + (to - from) / 2)
}

/// The runs of empty cells: the first cell of each, and the one after its last.
fn gaps(cells: &[ToolchainCell]) -> Vec<(usize, usize)> {
    let mut gaps: Vec<(usize, usize)> = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        match (cell, gaps.last_mut()) {
            (ToolchainCell::Empty, Some((_, to))) if *to == index => *to = index + 1,
            (ToolchainCell::Empty, Some(_) | None) => gaps.push((index, index + 1)),
            (ToolchainCell::Queued | ToolchainCell::Running | ToolchainCell::Decided, _) => {}
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A branch as a picture: `.` empty, `q` queued, `r` running, `+` decided.
    fn wants(picture: &str, idle: bool) -> String {
        wants_with(picture, &[], 0, idle)
    }

    fn wants_with(picture: &str, open: &[(usize, usize)], backfilled: usize, idle: bool) -> String {
        wants_all(picture, open, &[], backfilled, idle)
    }

    fn wants_all(
        picture: &str,
        open: &[(usize, usize)],
        repairs: &[(usize, usize)],
        backfilled: usize,
        idle: bool,
    ) -> String {
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
        let wanted = WantedRanges { open: open.to_vec(), repairs: repairs.to_vec() };
        toolchains(&cells, &wanted, backfilled, idle).iter().map(word).collect::<Vec<_>>().join(", ")
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
    fn the_range_of_a_breakage_without_an_answer_comes_before_wider_gaps() {
        assert_eq!(wants("+..+......+", true), "backfill 7");
        assert_eq!(wants_with("+..+......+", &[(0, 3)], 0, true), "backfill 2");
        // Its range is built, so the widest gap is next.
        assert_eq!(wants_with("+++......+", &[(0, 2)], 0, true), "backfill 6");
    }

    #[test]
    fn the_range_of_a_repair_comes_after_those_of_breakages_without_an_answer() {
        assert_eq!(wants_all("+..+...+......+", &[(0, 3)], &[(3, 7)], 0, true), "backfill 2");
        assert_eq!(wants_all("+++++...+......+", &[(0, 3)], &[(4, 8)], 0, true), "backfill 6");
        assert_eq!(wants_all("+++++...+......+", &[(0, 3)], &[(4, 8)], 0, false), "");
        assert_eq!(wants_all("+++++++++......+", &[(0, 3)], &[(4, 8)], 0, true), "backfill 12");
    }

    #[test]
    fn each_fourth_build_goes_to_the_oldest_gap() {
        let turns: Vec<String> =
            (0..8).map(|made| wants_with("+.+......++", &[(2, 9)], made, true)).collect();
        let (wide, old) = ("backfill 6", "backfill 1");
        assert_eq!(turns, [wide, wide, wide, old, wide, wide, wide, old]);
    }

    proptest! {
        /// However fast a branch grows, and whatever breaks at its tip: each gap is halved within four builds for each
        /// empty change up to its end.
        #[test]
        fn each_gap_is_halved_within_a_bounded_number_of_builds(
            picture in prop::collection::vec(any::<bool>(), 1..30),
            bursts in prop::collection::vec(2..40_usize, 1..8),
        ) {
            let mut cells = vec![ToolchainCell::Decided];
            cells.extend(picture.iter().map(|built| match built {
                true => ToolchainCell::Decided,
                false => ToolchainCell::Empty,
            }));
            cells.push(ToolchainCell::Decided);
            for (from, to) in gaps(&cells) {
                let mut cells = cells.clone();
                let empty = cells[..to].iter().filter(|cell| **cell == ToolchainCell::Empty).count();
                let builds = (0..=OLDEST_EVERY * empty).find(|build| {
                    if cells[from..to].contains(&ToolchainCell::Decided) {
                        return true;
                    }
                    // A burst that breaks something arrives before each build.
                    let good = cells.len() - 1;
                    cells.extend(vec![ToolchainCell::Empty; bursts[*build % bursts.len()]]);
                    let tip = cells.len() - 1;
                    cells[tip] = ToolchainCell::Decided;
                    let wanted = WantedRanges { open: vec![(good, tip)], repairs: vec![] };
                    match toolchains(&cells, &wanted, *build, true).as_slice() {
                        [ScheduleAction::Backfill(at)] => cells[*at] = ToolchainCell::Decided,
                        other => panic!("one change is backfilled: {other:?}"),
                    }
                    false
                });
                prop_assert!(builds.is_some_and(|builds| builds <= OLDEST_EVERY * empty), "{builds:?}");
            }
        }

        /// While workers are idle, a repair is narrowed to one change, in twice as many builds as halvings are needed, and
        /// one more; the builds of the oldest gap are among them.
        #[test]
        fn a_repair_is_narrowed_to_one_change_in_a_bounded_number_of_idle_rounds(
            before in 1_usize..200,
            within in 2_usize..300,
            fixer in 0_usize..300,
            made in 0_usize..4,
        ) {
            let (start, end) = (before, before + within);
            let fixer = start + 1 + fixer % within;
            let mut cells = vec![ToolchainCell::Empty; end + 5];
            for at in [0, start, end, end + 4] {
                cells[at] = ToolchainCell::Decided;
            }
            let (mut after, mut by, mut builds) = (start, end, 0);
            while after + 1 < by {
                let wanted = WantedRanges { open: vec![], repairs: vec![(after, by)] };
                match toolchains(&cells, &wanted, made + builds, true).as_slice() {
                    [ScheduleAction::Backfill(at)] => {
                        cells[*at] = ToolchainCell::Decided;
                        match *at {
                            at if at >= fixer && at < by => by = at,
                            at if at < fixer && at > after => after = at,
                            _ => {}
                        }
                    }
                    other => panic!("one change is backfilled: {other:?}"),
                }
                builds += 1;
                prop_assert!(builds <= 2 * within.ilog2() as usize + 3, "{after}..{by} after {builds} builds");
            }
            prop_assert_eq!((after, by), (fixer - 1, fixer));
        }
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
