//! The one way to run for ever: look again on time or when nudged, until told to stop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// After a failure it looks again so soon, whatever its period: a poll may be due once a day.
const AGAIN: Duration = Duration::from_secs(10);
/// A machine under load may be late by so much.
const GRACE: Duration = Duration::from_secs(60);

/// What a patrol is called and how it goes.
pub struct TaskSettings {
    pub name: &'static str,
    pub period: Duration,
    /// A tick that takes longer hangs.
    pub longest: Duration,
    pub nudge: Arc<Notify>,
    pub stop: CancellationToken,
    pub deadlines: Arc<TaskDeadlines>,
}

/// Ticks at once, then when nudged or after the time that the last tick asked for, at most `period`. A tick that
/// fails is logged once and comes again soon: what it would have done is still to be done, for it reads the store anew.
pub async fn run_background_task<T: Future<Output = Result<Option<Duration>>>>(
    round: TaskSettings,
    mut tick: impl FnMut() -> T,
) {
    let TaskSettings { name, period, longest, nudge, stop, deadlines } = round;
    let pulse = deadlines.begin(name);
    while !stop.is_cancelled() {
        pulse.expect_within(longest);
        let ticked = tick().await;
        if let Err(error) = &ticked {
            tracing::error!(error = format!("{error:#}"), "{name}");
        }
        let wait = wait(ticked, period);
        pulse.expect_within(wait);
        tokio::select! {
            () = stop.cancelled() => {}
            () = nudge.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn wait(ticked: Result<Option<Duration>>, period: Duration) -> Duration {
    match ticked {
        Ok(Some(sooner)) => sooner.min(period),
        Ok(None) => period,
        Err(_) => AGAIN.min(period),
    }
}

/// By when each patrol must be heard of again, if it is not to count as stuck.
#[derive(Default)]
pub struct TaskDeadlines {
    expected: Mutex<BTreeMap<u64, (&'static str, Instant)>>,
}

impl TaskDeadlines {
    /// Names of patrols that are overdue.
    pub fn stuck(&self, now: Instant) -> Vec<String> {
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.values().filter(|(_, by)| *by < now).map(|(name, _)| name.to_string()).collect()
    }

    fn begin(self: Arc<TaskDeadlines>, name: &'static str) -> Pulse {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let key = expected.last_key_value().map_or(0, |(key, _)| key + 1);
        expected.insert(key, (name, Instant::now() + GRACE));
        drop(expected);
        Pulse { key, deadlines: self }
    }
}

/// Of one patrol, for as long as it runs.
struct Pulse {
    key: u64,
    deadlines: Arc<TaskDeadlines>,
}

impl Pulse {
    fn expect_within(&self, wait: Duration) {
        let mut expected = self.deadlines.expected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, by)) = expected.get_mut(&self.key) {
            *by = Instant::now() + wait + GRACE;
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.deadlines.expected.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(deadlines: &Arc<TaskDeadlines>) -> TaskSettings {
        TaskSettings {
            name: "testing",
            period: Duration::from_secs(3600),
            longest: Duration::from_secs(100),
            nudge: Arc::default(),
            stop: CancellationToken::new(),
            deadlines: deadlines.clone(),
        }
    }

    #[tokio::test]
    async fn it_ticks_at_once_on_each_nudge_and_after_a_failure_until_it_is_told_to_stop() {
        let round = round(&Arc::default());
        let (nudge, stop) = (round.nudge.clone(), round.stop.clone());
        let mut ticks = 0;
        run_background_task(round, || {
            ticks += 1;
            nudge.notify_one();
            if ticks == 3 {
                stop.cancel();
            }
            let fails = ticks == 2;
            async move { if fails { anyhow::bail!("a failure is no end") } else { Ok(None) } }
        })
        .await;
        assert_eq!(ticks, 3);
    }

    #[test]
    fn it_waits_its_period_or_less_and_after_a_failure_not_for_long() {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
        assert_eq!(wait(Ok(None), day), day);
        assert_eq!(wait(Ok(Some(second)), day), second);
        assert_eq!(wait(Ok(Some(day)), second), second);
        assert_eq!(wait(Err(anyhow::anyhow!("no")), day), AGAIN);
        assert_eq!(wait(Err(anyhow::anyhow!("no")), second), second);
    }

    #[tokio::test]
    async fn one_that_hangs_is_stuck_one_that_waits_is_not_and_one_that_ended_is_forgotten() {
        let deadlines = Arc::new(TaskDeadlines::default());
        let waiting = tokio::spawn(run_background_task(round(&deadlines), || async { Ok(None) }));
        let hanging = tokio::spawn(run_background_task(round(&deadlines), std::future::pending));
        // Each runs as far as it can.
        tokio::task::yield_now().await;
        let in_seconds = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert!(deadlines.stuck(in_seconds(100)).is_empty(), "a tick may take its time");
        assert_eq!(deadlines.stuck(in_seconds(170)), ["testing"], "the other one only waits for its time");
        hanging.abort();
        assert!(hanging.await.is_err());
        assert!(deadlines.stuck(in_seconds(170)).is_empty());
        waiting.abort();
    }
}
