//! The one way to run for ever: look again on time or when nudged, until told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// After a failure it looks again so soon, whatever its period: a poll may be due once a day.
const AGAIN: Duration = Duration::from_secs(10);

/// Ticks at once, then when nudged or after the time that the last tick asked for, at most `period`. A tick that
/// fails is logged once and comes again soon: what it would have done is still to be done, for it reads the store anew.
pub async fn patrol<T: Future<Output = Result<Option<Duration>>>>(
    name: &'static str,
    period: Duration,
    nudge: Arc<Notify>,
    stop: CancellationToken,
    mut tick: impl FnMut() -> T,
) {
    while !stop.is_cancelled() {
        let wait = match tick().await {
            Ok(sooner) => sooner.map_or(period, |sooner| sooner.min(period)),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "{name}");
                period.min(AGAIN)
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = nudge.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_ticks_at_once_on_each_nudge_and_after_a_failure_until_it_is_told_to_stop() {
        let (nudge, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let mut ticks = 0;
        patrol("test", Duration::from_secs(3600), nudge.clone(), stop.clone(), || {
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
}
