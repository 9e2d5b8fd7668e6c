//! The runs behind an answer, in words: the same on a page and in a mail.

/// How often something was run, by result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunCount {
    /// Runs in which each case in question was good, as far as the run shows.
    pub good: u32,
    /// Runs in which one of the cases was bad, or not run any longer.
    pub bad: u32,
}

/// What one worker ran without the suspected commit, and with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRuns {
    /// The worker's name.
    pub worker: String,
    /// Runs of what was before.
    pub before: RunCount,
    /// Runs of what is suspected.
    pub with: RunCount,
}

impl WorkerRuns {
    /// `3 passes before it, 3 failures with it, on attic`. `is_lost` says that the cases are no longer run, and do not fail.
    pub fn words(&self, is_lost: bool) -> String {
        let mut parts = count_words(self.before, "before it", is_lost);
        parts.extend(count_words(self.with, "with it", is_lost));
        format!("{}, on {}", parts.join(", "), self.worker)
    }
}

fn count_words(count: RunCount, when: &str, is_lost: bool) -> Vec<String> {
    let (good, bad) = match is_lost {
        true => (["complete run", "complete runs"], ["incomplete run", "incomplete runs"]),
        false => (["pass", "passes"], ["failure", "failures"]),
    };
    [(count.good, good), (count.bad, bad)]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, [one, many])| format!("{count} {} {when}", if count == 1 { one } else { many }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of counts such as `3-1`, good and bad.
    fn words(before: (u32, u32), with: (u32, u32), is_lost: bool) -> String {
        let count = |(good, bad)| RunCount { good, bad };
        WorkerRuns { worker: "attic".into(), before: count(before), with: count(with) }.words(is_lost)
    }

    #[test]
    fn the_runs_of_a_worker_are_counted_by_what_they_showed() {
        assert_eq!(words((3, 0), (0, 4), false), "3 passes before it, 4 failures with it, on attic");
        assert_eq!(
            words((1, 1), (0, 1), false),
            "1 pass before it, 1 failure before it, 1 failure with it, on attic"
        );
        assert_eq!(
            words((3, 0), (0, 3), true),
            "3 complete runs before it, 3 incomplete runs with it, on attic"
        );
    }

    #[test]
    fn what_was_not_run_is_not_mentioned() {
        assert_eq!(words((0, 0), (0, 1), false), "1 failure with it, on attic");
        assert_eq!(words((2, 0), (0, 0), false), "2 passes before it, on attic");
    }
}
