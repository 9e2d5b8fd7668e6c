//! The one way to run for ever: run a tick on time or when activated, until the master stops.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// After a failure the next tick comes this soon, whatever the period: a poll may be due once a day.
const RETRY: Duration = Duration::from_secs(10);
/// A machine under load may be late by this much.
const GRACE: Duration = Duration::from_secs(60);

/// What a background task is called, and how often it runs.
pub struct TaskSettings {
    pub name: &'static str,
    pub period: Duration,
    /// A tick that takes longer counts as stuck.
    pub longest_tick: Duration,
    pub activation: Arc<Notify>,
    pub stop: CancellationToken,
    pub deadlines: Arc<TaskDeadlines>,
}

/// Runs a tick at once, then when activated or after the time that the last tick returned, at most `period`. A tick that
/// fails is logged once and soon repeated: it reads the store again, so it does what the failed one did not.
pub async fn run_background_task<T: Future<Output = Result<Option<Duration>>>>(
    settings: TaskSettings,
    mut tick: impl FnMut() -> T,
) {
    let TaskSettings { name, period, longest_tick, activation, stop, deadlines } = settings;
    let deadline = deadlines.add(name);
    while !stop.is_cancelled() {
        deadline.expect_within(longest_tick);
        let result = tick().await;
        if let Err(error) = &result {
            tracing::error!(error = format!("{error:#}"), "{name} failed");
        }
        let wait = wait(result, period);
        deadline.expect_within(wait);
        tokio::select! {
            () = stop.cancelled() => {}
            () = activation.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn wait(result: Result<Option<Duration>>, period: Duration) -> Duration {
    match result {
        Ok(Some(sooner)) => sooner.min(period),
        Ok(None) => period,
        Err(_) => RETRY.min(period),
    }
}

/// When the next sign of life of each background task is due; a task that is overdue counts as stuck.
#[derive(Default)]
pub struct TaskDeadlines {
    due: Mutex<BTreeMap<u64, (&'static str, Instant)>>,
}

impl TaskDeadlines {
    /// The names of tasks that are overdue.
    pub fn stuck(&self, now: Instant) -> Vec<String> {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.values().filter(|(_, by)| *by < now).map(|(name, _)| name.to_string()).collect()
    }

    fn add(self: Arc<TaskDeadlines>, name: &'static str) -> TaskDeadline {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let key = due.last_key_value().map_or(0, |(key, _)| key + 1);
        due.insert(key, (name, Instant::now() + GRACE));
        drop(due);
        TaskDeadline { key, deadlines: self }
    }
}

/// The deadline of one task, for as long as it runs.
struct TaskDeadline {
    key: u64,
    deadlines: Arc<TaskDeadlines>,
}

impl TaskDeadline {
    fn expect_within(&self, wait: Duration) {
        let mut due = self.deadlines.due.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, by)) = due.get_mut(&self.key) {
            *by = Instant::now() + wait + GRACE;
        }
    }
}

impl Drop for TaskDeadline {
    fn drop(&mut self) {
        self.deadlines.due.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(deadlines: &Arc<TaskDeadlines>) -> TaskSettings {
        TaskSettings {
            name: "testing",
            period: Duration::from_secs(3600),
            longest_tick: Duration::from_secs(100),
            activation: Arc::default(),
            stop: CancellationToken::new(),
            deadlines: deadlines.clone(),
        }
    }

    #[tokio::test]
    async fn a_task_ticks_at_once_on_each_activation_and_after_a_failure_until_it_is_stopped() {
        let settings = settings(&Arc::default());
        let (activation, stop) = (settings.activation.clone(), settings.stop.clone());
        let mut ticks = 0;
        run_background_task(settings, || {
            ticks += 1;
            activation.notify_one();
            if ticks == 3 {
                stop.cancel();
            }
            let fails = ticks == 2;
            async move {
                anyhow::ensure!(!fails, "a failure does not end a task");
                Ok(None)
            }
        })
        .await;
        assert_eq!(ticks, 3);
    }

    #[test]
    fn a_task_waits_for_its_period_or_less_and_only_briefly_after_a_failure() {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
        assert_eq!(wait(Ok(None), day), day);
        assert_eq!(wait(Ok(Some(second)), day), second);
        assert_eq!(wait(Ok(Some(day)), second), second);
        assert_eq!(wait(Err(anyhow::anyhow!("no")), day), RETRY);
        assert_eq!(wait(Err(anyhow::anyhow!("no")), second), second);
    }

    #[tokio::test]
    async fn a_task_that_hangs_is_stuck_one_that_waits_is_not_and_one_that_ended_is_removed() {
        let deadlines = Arc::new(TaskDeadlines::default());
        let waiting = tokio::spawn(run_background_task(settings(&deadlines), || async { Ok(None) }));
        let hanging = tokio::spawn(run_background_task(settings(&deadlines), std::future::pending));
        // Each runs as far as it can.
        tokio::task::yield_now().await;
        let in_seconds = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert!(deadlines.stuck(in_seconds(100)).is_empty(), "a tick may take up to its longest time");
        assert_eq!(deadlines.stuck(in_seconds(170)), ["testing"], "the other task only waits for its period");
        hanging.abort();
        assert!(hanging.await.is_err());
        assert!(deadlines.stuck(in_seconds(170)).is_empty());
        waiting.abort();
    }
}
