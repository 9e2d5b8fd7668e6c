//! Sources other than git: a project's `latest` command prints its newest revision. The command is not trusted, so it runs
//! as a build on a worker, and never in this process.

use std::collections::BTreeSet;

use domain::project_inputs::inputs_hash;
use domain::words::ids::{PlatformId, Timestamp};
use domain::words::{BuilderKind, Reason};
use protocol::{Limits, Recipe, RecipeStep, StepKind};
use store::{Builder, NewBuild, Write};

use crate::config::{Config, Follow, ProjectConfig};

/// A registry answers in seconds.
const TIME_MS: u64 = 300_000;
const LOG_BYTES: u64 = 1 << 20;

/// Enqueues the `latest` commands that are due. Returns how many builds it enqueued.
pub async fn enqueue_latest(
    tx: &mut Write<'_>,
    config: &Config,
    builders: &[Builder],
    present: &BTreeSet<PlatformId>,
    at: Timestamp,
) -> store::Result<usize> {
    let mut enqueued = 0;
    let rows = tx.projects().await?;
    for project in &config.projects {
        let Follow::Latest { command, every } = &project.follow else { continue };
        let Some(row) = rows.iter().find(|row| row.name == project.name) else { continue };
        let last = tx.last_latest(row.id).await?;
        if last.is_some_and(|last| last.finished_at.is_none_or(|finished| at < finished + *every)) {
            continue;
        }
        let can_run =
            |builder: &&Builder| builder.project == Some(row.id) && present.contains(&builder.platform);
        for builder in builders.iter().filter(can_run) {
            if let Some(new) = latest_build(tx, builders, builder, project, command).await? {
                tx.enqueue_build(&new, at).await?;
                enqueued += 1;
                break;
            }
        }
    }
    Ok(enqueued)
}

/// The command runs with the newest toolchain, since the client of a registry may be a part of it. None while there is no
/// toolchain.
async fn latest_build(
    tx: &mut Write<'_>,
    builders: &[Builder],
    builder: &Builder,
    project: &ProjectConfig,
    command: &str,
) -> store::Result<Option<NewBuild>> {
    let toolchains =
        builders.iter().find(|other| other.kind == BuilderKind::Toolchain && other.is_beside(builder));
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
        toolchain_inputs: cell.inputs.toolchain,
        recipe: tx.put_recipe(&recipe).await?,
        reason: Reason::Latest,
        breakage: None,
        only_worker: tx.artifact(artifact).await?.and_then(|artifact| artifact.only_worker),
        inputs: inputs_hash::toolchain(&sha, &recipe, None, &builder.hashed_target()),
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
        patterns: None,
        time_ms: None,
        silence_ms: None,
    };
    let limits =
        Limits { time_ms: TIME_MS, silence_ms: TIME_MS, log_bytes: LOG_BYTES, ..project.recipe.limits };
    Recipe { env: project.recipe.env.clone(), steps: vec![step], limits, ..Recipe::default() }
}
