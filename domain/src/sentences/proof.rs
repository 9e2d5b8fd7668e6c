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
