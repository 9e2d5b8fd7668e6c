//! Looks after the farm itself: says on every page what is wrong, and tells systemd that the master lives.

use std::time::Duration;

use anyhow::Result;
use domain::health::{HealthFacts, HealthProblem, problems};
use domain::words::ids::Timestamp;
use store::Store;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use web::FarmStatus;

use crate::farm::{Farm, now};
use crate::upkeep::disk;
use crate::upkeep::systemd;

/// How often it looks, and how long what it said may be believed.
pub const LOOK: Duration = Duration::from_secs(10);
const BELIEVED: Duration = Duration::from_secs(60);
/// A database that takes longer does not answer.
const ANSWER: Duration = Duration::from_secs(20);

/// Where the shells put what they know of the farm's health, and where pages read what follows from it.
pub struct Health {
    /// What the configuration's files say that is not in force.
    pub configuration: watch::Receiver<Vec<String>>,
    pub about: watch::Sender<FarmStatus>,
    pub up_since: Timestamp,
}

impl Health {
    pub async fn look(&self, farm: &Farm) -> Result<()> {
        let config = farm.config();
        let stuck = farm.deadlines.stuck(Instant::now());
        let written = timeout(ANSWER, farm.store.write(|_| Box::pin(async { Ok(()) }))).await;
        let known = timeout(ANSWER, ask(&farm.store)).await;
        let store = match (&written, &known) {
            (Err(_), _) | (_, Err(_)) => Some(format!("no answer within {} s", ANSWER.as_secs())),
            (Ok(Err(error)), _) | (_, Ok(Err(error))) => Some(error.to_string()),
            (Ok(Ok(())), Ok(Ok(_))) => None,
        };
        // What failed for want of disk is alive, and a restart would not help.
        let writer_lives = !matches!(written, Err(_) | Ok(Err(store::Error::Conflict(_))));
        if writer_lives && stuck.is_empty() {
            systemd::lives();
        }
        let known = known.ok().and_then(Result::ok).unwrap_or_default();
        let disk = disk::free(&config, farm.store.data());
        let configuration = self.configuration.borrow().clone();
        let facts = HealthFacts { configuration, disk, store, stuck, up_since: Some(self.up_since), ..known };
        let problems = problems(&facts, now(), date);
        self.log(&problems);
        self.about.send_replace(FarmStatus {
            farm: config.name.clone(),
            url: config.url.clone(),
            problems,
            believed_until: Some(Instant::now() + BELIEVED),
            disk,
            max_readers: config.max_readers as usize,
        });
        Ok(())
    }

    /// Once when it comes, and once when it has gone.
    fn log(&self, problems: &[HealthProblem]) {
        let before = &self.about.borrow().problems;
        if before.is_empty() {
            problems.iter().for_each(|trouble| tracing::warn!("{}", trouble.said));
        } else if problems.is_empty() {
            tracing::info!("all is well again");
        }
    }
}

/// What the store knows of the farm's health.
async fn ask(store: &Store) -> store::Result<HealthFacts> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let workforce = read.workforce().await?;
    Ok(HealthFacts {
        mail: read.mail_failing().await?,
        trunks: read.trunks_failing().await?,
        workers: workforce.approved,
        connected: workforce.connected,
        last_heard: workforce.last_heard,
        ..HealthFacts::default()
    })
}

fn date(at: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(at.0);
    moment
        .map_or_else(|_| format!("{} ms", at.0), |moment| moment.strftime("%-d %b %Y, %H:%M UTC").to_string())
}
