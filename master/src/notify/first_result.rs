//! Informs a project's contacts of its first build on a branch, once, whatever became of it.

use anyhow::{Context, Result};
use domain::notice::first_result::{FirstResult, mail};
use domain::outcome::Outcome;
use domain::readers::looks_like_error;
use domain::words::ids::{AttemptId, Timestamp};
use domain::words::states::NoticeKind;
use protocol::StepEnd;
use store::files::log::{self, LogChunk, LogExtent, LogReader};
use store::pages::StepLog;
use store::{NewNotice, ProjectStart, Read};

use crate::config::{Config, ProjectConfig};
use crate::farm::Farm;
use crate::notify::write::host;

/// How many are handled in a round.
const AT_ONCE: i64 = 20;
/// How far back in a log an error is looked for.
const LOG_LINES: u64 = 60;
const LOG_BYTES: usize = 256 << 10;
/// A longer line is cut.
const MAX_LINE_CHARS: usize = 300;

/// Puts a mail into the outbox for each project whose first build has ended.
pub async fn notify_first_results(farm: &Farm, at: Timestamp) -> Result<()> {
    let config = farm.config();
    let mut snapshot = farm.store.snapshot().await?;
    let starts = snapshot.read().unnotified_starts(AT_ONCE).await?;
    for start in starts {
        let project = snapshot.read().project(start.project).await?.name;
        let configured = config.projects.iter().find(|one| one.name == project);
        // A canary is the operator's, and pages show it where it does not do what it must.
        let addressed = configured.filter(|one| one.canary.is_none() && !one.contacts.is_empty());
        let notice = match addressed {
            Some(project) => Some(load_notice(farm, &mut snapshot.read(), &config, project, start).await?),
            None => None,
        };
        let written = farm.store.write(move |tx| {
            Box::pin(async move {
                if let Some(notice) = &notice {
                    tx.put_notice(notice, at).await?;
                }
                tx.mark_start_notified(start.project, start.branch, at).await
            })
        });
        written.await.context("informing the contacts of a first build")?;
    }
    Ok(())
}

async fn load_notice(
    farm: &Farm,
    read: &mut Read<'_>,
    config: &Config,
    project: &ProjectConfig,
    start: ProjectStart,
) -> Result<NewNotice> {
    let build = read.build(start.build).await?;
    let builder = read.builder(build.builder).await?;
    let branch = read.branch(start.branch).await?;
    let end = read.build_end(build.id).await?;
    let steps = match build.attempt {
        Some(attempt) => read.steps(attempt).await?,
        None => Vec::new(),
    };
    let failed =
        steps.iter().find(|step| step.end.as_ref().is_some_and(|end| *end != StepEnd::Exit { code: 0 }));
    let error = match failed.filter(|_| end.outcome != Outcome::Passed) {
        Some(step) => {
            let log = read.log_place(build.id.0, step.position).await?;
            error_line(farm, log).await
        }
        None => None,
    };
    let first = FirstResult {
        project: project.name.clone(),
        trunk: project.trunk.clone(),
        branch: branch.name,
        platform: builder.target(),
        sha: read.change(build.change).await?.sha,
        end,
        warnings: steps.iter().flat_map(|step| step.warnings.iter().cloned()).collect(),
        error,
        url: format!("{}/builds/{}", config.url, build.id),
        project_url: format!("{}/projects/{}", config.url, project.name),
    };
    let text = mail(&first, &config.name);
    Ok(NewNotice {
        kind: NoticeKind::FirstResult,
        change: build.change,
        recipients: project.contacts.iter().map(ToString::to_string).collect(),
        subject: text.subject,
        body: text.body,
        message_id: format!("<first-result.{}.{}@{}>", start.project, start.branch, host(&config.url)),
        in_reply_to: None,
        breakages: Vec::new(),
        mentions: Vec::new(),
    })
}

/// The first line at the end of a log that looks like an error, or else its last line. A log that cannot be read has none:
/// the mail goes out all the same.
async fn error_line(farm: &Farm, log: StepLog) -> Option<String> {
    let path = log::path(&farm.store.data().join("logs"), AttemptId(log.attempt).0, log.step.position);
    let read = tokio::task::spawn_blocking(move || {
        let stored = log.step.log;
        if log.step.log_pruned_at.is_some() || stored.lines == 0 {
            return None;
        }
        let extent =
            LogExtent { raw_bytes: stored.bytes, lines: stored.lines, stored_bytes: stored.stored_bytes };
        let reader = LogReader::open(&path, extent).ok()?;
        let window = reader.lines(stored.lines.saturating_sub(LOG_LINES), LOG_LINES, LOG_BYTES).ok()?;
        let mut text = Vec::new();
        for piece in window.pieces {
            match piece {
                LogChunk::Text(bytes) => text.extend(bytes),
                LogChunk::Cut(_) => {}
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        let line = lines().find(|line| looks_like_error(line)).or_else(|| lines().next_back())?;
        Some(line.chars().take(MAX_LINE_CHARS).collect())
    });
    read.await.ok().flatten()
}
