//! Self-diagnostics: every page shows what is wrong with the farm, and systemd's watchdog is pinged while the master works.

use std::time::Duration;

use anyhow::Result;
use domain::dispatch::waiting::KnownWorker;
use domain::health::production::{PendingWorker, ProductionFacts};
use domain::health::{CACHES_SHOWN, HealthFacts, HealthProblem, is_here, problems};
use domain::schedule::canary::{failing_sentence, is_failing};
use domain::variant::target;
use domain::words::ids::Timestamp;
use domain::words::states::{Standing, WorkerState};
use store::{CanaryRow, Read, Store};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use web::FarmStatus;

use crate::farm::{Farm, disk, read_clock};
use crate::upkeep::systemd;

/// How often the farm is checked, and how long a result is valid.
pub const PERIOD: Duration = Duration::from_secs(10);
const VALIDITY: Duration = Duration::from_secs(60);
/// A database or a disk that takes longer counts as not responding.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the farm's health comes from, and where pages read it.
pub struct Health {
    /// What is in the configuration's files and not in force.
    pub configuration: watch::Receiver<Vec<String>>,
    pub status: watch::Sender<FarmStatus>,
    pub up_since: Timestamp,
}

impl Health {
    pub async fn check(&self, farm: &Farm) -> Result<()> {
        let config = farm.config();
        let stuck = farm.deadlines.stuck(Instant::now());
        let written = timeout(PATIENCE, farm.store.write(|_| Box::pin(async { Ok(()) }))).await;
        let facts = timeout(PATIENCE, read_facts(&farm.store, self.up_since, read_clock().0)).await;
        let store = match (&written, &facts) {
            (Err(_), _) | (_, Err(_)) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
            (Ok(Err(error)), _) | (_, Ok(Err(error))) => Some(error.to_string()),
            (Ok(Ok(())), Ok(Ok(_))) => None,
        };
        // A writer that fails because the disk is full works, and a restart would not help.
        let writer_responds = !matches!(written, Err(_) | Ok(Err(store::Error::Conflict(_))));
        if writer_responds && stuck.is_empty() {
            systemd::ping_watchdog();
        }
        let facts = facts.ok().and_then(Result::ok).unwrap_or_default();
        // The free space of a disk that does not respond is unknown; the rest must be shown all the same.
        let disk = timeout(PATIENCE, disk::free_space(&config, farm.store.data())).await.ok().flatten();
        let configuration = self.configuration.borrow().clone();
        let (at, clock_ahead_ms) = read_clock();
        let up_since = Some(self.up_since);
        let facts = HealthFacts { configuration, disk, store, stuck, up_since, clock_ahead_ms, ..facts };
        let problems = problems(&facts, at, date);
        self.log(&problems);
        self.status.send_replace(FarmStatus {
            farm: config.name.clone(),
            url: config.url.clone(),
            problems,
            valid_until: Some(Instant::now() + VALIDITY),
            disk,
            max_readers: usize::try_from(config.max_readers).expect("32 bits fit into an address"),
        });
        Ok(())
    }

    /// Logs problems when the first of them comes, and once when the last is gone.
    fn log(&self, problems: &[HealthProblem]) {
        let before = &self.status.borrow().problems;
        if before.is_empty() {
            problems.iter().for_each(|problem| tracing::warn!("{}", problem.sentence));
        } else if problems.is_empty() {
            tracing::info!("all health problems are resolved");
        }
    }
}

async fn read_facts(store: &Store, up_since: Timestamp, now: Timestamp) -> store::Result<HealthFacts> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let workforce = read.workforce().await?;
    Ok(HealthFacts {
        mail: read.mail_failing().await?,
        trunks: read.trunks_failing().await?,
        lost_revisions: read.missing_revisions().await?,
        toolchain_inputs: read.waiting_toolchain_inputs().await?,
        workers: workforce.approved,
        connected: workforce.connected,
        last_seen: workforce.last_seen,
        canaries: read.canaries().await?.iter().filter_map(failing_canary).collect(),
        missing_refs: read.missing_refs().await?,
        cache_disagreements: read.cache_disagreements(now - CACHES_SHOWN).await?,
        production: Some(read_production(&mut read, up_since, now).await?),
        ..HealthFacts::default()
    })
}

fn failing_canary(row: &CanaryRow) -> Option<String> {
    let (outcome, at) = row.last.filter(|(outcome, _)| is_failing(row.canary, *outcome, row.explained))?;
    let target = target(&row.platform, row.variant.as_deref());
    Some(failing_sentence(row.canary, (&row.project, &row.trunk, &target), (outcome, date(at))))
}

async fn read_production(
    read: &mut Read<'_>,
    up_since: Timestamp,
    now: Timestamp,
) -> store::Result<ProductionFacts> {
    let (mut workers, mut pending) = (Vec::new(), Vec::new());
    for row in read.worker_rows().await? {
        if row.standing != Standing::Active {
            continue;
        }
        match (row.state, row.trust) {
            (WorkerState::Pending, _) => pending.push(PendingWorker { name: row.name }),
            (WorkerState::Approved, Some(trust)) => workers.push(KnownWorker {
                is_here: is_here(row.connected, row.seen_at, Some(up_since), now),
                name: row.name,
                trust,
                facts: row.facts,
                free_slots: u32::try_from(row.slots).unwrap_or(0),
            }),
            (WorkerState::Approved, None) | (WorkerState::Refused, _) => {}
        }
    }
    Ok(ProductionFacts {
        columns: read.branch_platforms().await?,
        workers,
        pending,
        last_finished: read.last_finished().await?,
        infra_projects: read.infra_projects().await?,
    })
}

fn date(at: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(at.0);
    moment
        .map_or_else(|_| format!("{} ms", at.0), |moment| moment.strftime("%-d %b %Y, %H:%M UTC").to_string())
}
