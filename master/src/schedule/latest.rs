//! Sources other than git: asks a project's `latest` command for its newest revision. The command is a stranger's, so it
//! runs as a build on a worker, and never here.

use std::collections::BTreeSet;

use domain::outcome::{BuildResult, Outcome};
use domain::project_inputs;
use domain::project_inputs::inputs_hash;
use domain::words::ids::{PlatformId, ProjectId, Timestamp};
use domain::words::{BuilderKind, Reason};
use protocol::{Limits, Recipe, RecipeStep, StepKind};
use store::{Build, Builder, NewBuild, Write};

use crate::config::{Config, Follow, ProjectConfig};

/// A registry answers in seconds.
const TIME_MS: u64 = 300_000;
const LOG_BYTES: u64 = 1 << 20;

/// Asks for what is due. Says how many builds that are.
pub async fn ask(
    tx: &mut Write<'_>,
    config: &Config,
    builders: &[Builder],
    present: &BTreeSet<PlatformId>,
    at: Timestamp,
) -> store::Result<usize> {
    let mut asked = 0;
    let rows = tx.projects().await?;
    for project in &config.projects {
        let Follow::Latest { command, every } = &project.follow else { continue };
        let Some(row) = rows.iter().find(|row| row.name == project.name) else { continue };
        let last = tx.last_latest(row.id).await?;
        if last.is_some_and(|last| last.finished_at.is_none_or(|finished| at < finished + *every)) {
            continue;
        }
        let able =
            |builder: &&Builder| builder.project == Some(row.id) && present.contains(&builder.platform);
        for builder in builders.iter().filter(able) {
            if let Some(new) = build(tx, builders, builder, project, command).await? {
                tx.enqueue_build(&new, at).await?;
                asked += 1;
                break;
            }
        }
    }
    Ok(asked)
}

/// It runs beside the newest toolchain, since a registry's client may be a part of that. None while there is none.
async fn build(
    tx: &mut Write<'_>,
    builders: &[Builder],
    builder: &Builder,
    project: &ProjectConfig,
    command: &str,
) -> store::Result<Option<NewBuild>> {
    let toolchains = builders.iter().find(|known| {
        known.kind == BuilderKind::Toolchain
            && (known.branch, known.platform) == (builder.branch, builder.platform)
    });
    let Some(toolchains) = toolchains else { return Ok(None) };
    let order = tx.order(builder.branch).await?;
    let cells = tx.history_cells(toolchains.id).await?;
    let newest = order
        .iter()
        .rev()
        .find_map(|change| cells.iter().find(|cell| cell.change == *change && cell.artifact.is_some()));
    let Some((cell, artifact)) = newest.and_then(|cell| Some((cell, cell.artifact?))) else {
        return Ok(None);
    };
    let recipe = recipe(project, command);
    let sha = tx.change(cell.change).await?.sha;
    Ok(Some(NewBuild {
        builder: builder.id,
        change: cell.change,
        pin: None,
        recipe: tx.put_recipe(&recipe).await?,
        reason: Reason::Latest,
        breakage: None,
        only_worker: tx.artifact(artifact).await?.and_then(|artifact| artifact.only_worker),
        inputs: inputs_hash::toolchain(&sha, &recipe, &builder.label),
        artifact: Some(artifact),
    }))
}

fn recipe(project: &ProjectConfig, command: &str) -> Recipe {
    let step = RecipeStep {
        name: "latest".into(),
        kind: StepKind::Fetch,
        run: command.into(),
        network: true,
        report: None,
        time_ms: None,
        silence_ms: None,
    };
    let limits =
        Limits { time_ms: TIME_MS, silence_ms: TIME_MS, log_bytes: LOG_BYTES, ..project.recipe.limits };
    Recipe { env: project.recipe.env.clone(), steps: vec![step], smoke: None, limits }
}

/// What a command printed is believed as far as it can be a revision.
pub async fn answered(tx: &mut Write<'_>, build: &Build, text: &str, at: Timestamp) -> store::Result<()> {
    let Some(project) = asked_for(tx, build).await? else { return Ok(()) };
    match project_inputs::revision(text) {
        Ok(revision) => tx.record_project_poll(project, &revision, at).await,
        Err(failure) => tx.record_project_failure(project, &failure, at).await,
    }
}

/// A command that failed has answered nothing. Neither has one whose build was given up, as one that never succeeded is:
/// that may have been the network's trouble each time.
pub async fn settle(
    tx: &mut Write<'_>,
    build: &Build,
    judged: &BuildResult,
    at: Timestamp,
) -> store::Result<()> {
    let Some(project) = asked_for(tx, build).await? else { return Ok(()) };
    match judged.outcome {
        Outcome::Failed | Outcome::Infra => {
            let cause = judged.cause.map_or("failed", |cause| cause.as_str());
            tx.record_project_failure(project, &format!("`latest` failed: {cause}"), at).await
        }
        Outcome::Passed | Outcome::Cancelled | Outcome::Blocked => Ok(()),
    }
}

/// The project whose newest revision a build asks for, if it does.
async fn asked_for(tx: &mut Write<'_>, build: &Build) -> store::Result<Option<ProjectId>> {
    match build.reason {
        Reason::Latest => Ok(tx.builder(build.builder).await?.project),
        Reason::Tip | Reason::Backfill | Reason::Baseline | Reason::Probe | Reason::Null | Reason::Force => {
            Ok(None)
        }
    }
}
