//! Whose a build is while its worker is silent: a router that reboots costs nothing, and a machine that burnt down
//! does not hold a build for ever.

use std::time::Duration;

use protocol::Recipe;

use crate::words::ids::Timestamp;

/// How long silence is borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leases {
    /// A worker that was not heard for so long is silent, and its connection dead.
    pub silence: Duration,
    /// What a silent worker holds may be given to another after this time more.
    pub patience: Duration,
}

impl Default for Leases {
    fn default() -> Leases {
        Leases { silence: Duration::from_secs(60), patience: Duration::from_secs(600) }
    }
}

impl Leases {
    /// Three may be lost on the way before silence begins.
    pub fn heartbeat(&self) -> Duration {
        self.silence / 4
    }
}

/// A running attempt, as far as its lease goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningAttempt {
    pub started_at: Timestamp,
    pub lease_until: Timestamp,
    /// What its steps may take together.
    pub limit: Duration,
    /// Whether a connection of its worker stands. It is closed after as much silence, by a clock that never jumps.
    pub connected: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseFate {
    Kept,
    /// Another worker may have it that has nothing better to do; until he accepts, the holder may come back.
    Spare,
    /// It would have been over by now.
    Over,
}

pub fn fate(held: RunningAttempt, leases: Leases, now: Timestamp) -> LeaseFate {
    let silent = !held.connected && held.lease_until < now;
    // Bringing the source and delivering the results take their time, too.
    if silent && held.started_at + held.limit + leases.patience < now {
        LeaseFate::Over
    } else if silent && held.lease_until + leases.patience < now {
        LeaseFate::Spare
    } else {
        LeaseFate::Kept
    }
}

/// What all steps of a recipe may take together.
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

    /// Started at 0 with an hour to run, last heard at this second; looked at at that second.
    fn heard_and_looked_at(heard: i64, now: i64, connected: bool) -> LeaseFate {
        let held = RunningAttempt {
            started_at: Timestamp(0),
            lease_until: Timestamp(heard * 1000) + LEASES.silence,
            limit: Duration::from_secs(3600),
            connected,
        };
        fate(held, LEASES, Timestamp(now * 1000))
    }

    #[test]
    fn silence_is_borne_for_a_while_then_another_may_have_it_and_at_its_limit_it_is_over() {
        assert_eq!(heard_and_looked_at(100, 160, false), LeaseFate::Kept);
        assert_eq!(heard_and_looked_at(100, 760, false), LeaseFate::Kept);
        assert_eq!(heard_and_looked_at(100, 761, false), LeaseFate::Spare);
        assert_eq!(heard_and_looked_at(100, 4200, false), LeaseFate::Spare);
        assert_eq!(heard_and_looked_at(100, 4201, false), LeaseFate::Over);
    }

    #[test]
    fn whoever_is_heard_keeps_what_he_has_however_long_it_takes() {
        assert_eq!(heard_and_looked_at(9000, 9060, false), LeaseFate::Kept);
    }

    #[test]
    fn a_clock_that_jumps_takes_nothing_from_a_worker_that_is_here() {
        assert_eq!(heard_and_looked_at(100, 86_400, true), LeaseFate::Kept);
    }

    #[test]
    fn steps_have_their_own_time_or_the_recipes() {
        let step = |time_ms| RecipeStep {
            name: "s".into(),
            kind: StepKind::Test,
            run: "true".into(),
            network: false,
            report: None,
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
