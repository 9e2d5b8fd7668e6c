//! Which worker holds a build while its worker is silent: a router that restarts costs nothing, and a machine that burnt
//! down does not hold a build for ever.

use std::time::Duration;

use protocol::Recipe;

use crate::words::ids::Timestamp;

/// How long a worker may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leases {
    /// A worker that sent nothing for so long is silent, and its connection is closed.
    pub silence: Duration,
    /// After so much more time its builds may be given to another worker.
    pub patience: Duration,
}

impl Default for Leases {
    fn default() -> Leases {
        Leases { silence: Duration::from_secs(60), patience: Duration::from_secs(600) }
    }
}

impl Leases {
    /// The period of heartbeats: three may be lost before the worker counts as silent.
    pub fn heartbeat(&self) -> Duration {
        self.silence / 4
    }
}

/// A running attempt, as far as its lease goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningAttempt {
    /// When the worker accepted it.
    pub started_at: Timestamp,
    /// Until when the worker may be silent.
    pub lease_until: Timestamp,
    /// How long its steps may take together.
    pub limit: Duration,
    /// Whether its worker is connected. A connection is closed after [`Leases::silence`], by a clock that never jumps.
    pub connected: bool,
}

/// What happens to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseFate {
    /// The worker keeps the build.
    Kept,
    /// The build may be offered to another worker that is idle; until that one accepts, the holder may come back.
    Spare,
    /// The attempt would have ended by now: it is lost.
    Over,
}

/// Decides about the lease of an attempt.
pub fn fate(held: RunningAttempt, leases: Leases, now: Timestamp) -> LeaseFate {
    let silent = !held.connected && held.lease_until < now;
    // To bring the source and to upload the results takes time, too.
    if silent && held.started_at + held.limit + leases.patience < now {
        LeaseFate::Over
    } else if silent && held.lease_until + leases.patience < now {
        LeaseFate::Spare
    } else {
        LeaseFate::Kept
    }
}

/// How long all steps of a recipe may take together.
pub fn time_limit(recipe: &Recipe) -> Duration {
    let usual = recipe.limits.time_ms;
    let steps = recipe.steps.iter().map(|step| step.time_ms.unwrap_or(usual));
    let smoke = recipe.smoke.iter().map(|_| usual);
    Duration::from_millis(steps.chain(smoke).fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use protocol::{Limits, RecipeStep, StepKind};

    use super::*;

    const LEASES: Leases = Leases { silence: Duration::from_secs(60), patience: Duration::from_secs(600) };

    /// The fate of an attempt that started at 0 with an hour to run, and whose worker last sent something at a second.
    fn fate_at(heard: i64, now: i64, connected: bool) -> LeaseFate {
        let held = RunningAttempt {
            started_at: Timestamp(0),
            lease_until: Timestamp(heard * 1000) + LEASES.silence,
            limit: Duration::from_secs(3600),
            connected,
        };
        fate(held, LEASES, Timestamp(now * 1000))
    }

    #[test]
    fn a_silent_worker_first_keeps_its_build_then_may_lose_it_and_at_the_limit_has_lost_it() {
        assert_eq!(fate_at(100, 160, false), LeaseFate::Kept);
        assert_eq!(fate_at(100, 760, false), LeaseFate::Kept);
        assert_eq!(fate_at(100, 761, false), LeaseFate::Spare);
        assert_eq!(fate_at(100, 4200, false), LeaseFate::Spare);
        assert_eq!(fate_at(100, 4201, false), LeaseFate::Over);
    }

    #[test]
    fn a_worker_that_is_not_silent_keeps_its_build_however_long_it_takes() {
        assert_eq!(fate_at(9000, 9060, false), LeaseFate::Kept);
    }

    #[test]
    fn a_clock_that_jumps_takes_nothing_from_a_connected_worker() {
        assert_eq!(fate_at(100, 86_400, true), LeaseFate::Kept);
    }

    #[test]
    fn steps_have_their_own_time_or_the_recipes() {
        let step = |time_ms| RecipeStep {
            name: "s".into(),
            kind: StepKind::Test,
            run: "true".into(),
            network: false,
            report: None,
            patterns: None,
            time_ms,
            silence_ms: None,
        };
        let limits = Limits { time_ms: 10_000, ..Limits::default() };
        let recipe = Recipe { steps: vec![step(None), step(Some(500))], limits, ..Recipe::default() };
        assert_eq!(time_limit(&recipe), Duration::from_millis(10_500));
        let recipe = Recipe { smoke: Some("true".into()), ..recipe };
        assert_eq!(time_limit(&recipe), Duration::from_millis(20_500));
    }
}
