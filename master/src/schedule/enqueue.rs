//! Enqueues builds, and settles at once those that need not run. This is the one place that makes builds of suites and
//! toolchains.

use domain::outcome::{BuildResult, Cause, Outcome};
use domain::project_inputs::inputs_hash::{self, SuiteInputs};
use domain::project_inputs::toolchain::ToolchainInputs;
use domain::words::Reason;
use domain::words::ids::{BuildId, ChangeId, Timestamp, ToolchainInputsId};
use store::{Build, Builder, Finish, HistoryCell, NewBuild, Pin, Write};

use crate::settle::breakages::make_history;

/// What a suite build runs: one change, by its toolchain, with one version of a project's inputs.
#[derive(Clone, Copy)]
pub struct SuiteBuild<'a> {
    pub builder: &'a Builder,
    pub change: ChangeId,
    /// The toolchain build of the change.
    pub toolchain: &'a HistoryCell,
    pub pin: &'a Pin,
    pub reason: Reason,
}

/// Enqueues a suite build that makes history, unless its change has no toolchain or a build with equal inputs exists.
/// Returns whether a worker is needed for it.
pub async fn enqueue_suite(tx: &mut Write<'_>, suite: SuiteBuild<'_>, at: Timestamp) -> store::Result<bool> {
    let mut new = suite_build(tx, suite).await?;
    if suite.toolchain.is_broken() {
        new.artifact = None;
        let build = tx.enqueue_build(&new, at).await?;
        let finish = without_attempt(Outcome::Blocked, Some(Cause::ToolchainBroken), None);
        tx.finish_build(build, &finish, at).await?;
        return Ok(false);
    }
    match tx.equal_build(suite.builder.id, new.inputs).await? {
        None => {
            tx.enqueue_build(&new, at).await?;
            Ok(true)
        }
        Some(Build { id: equal, outcome: Some(outcome), .. }) => {
            let build = tx.enqueue_build(&new, at).await?;
            tx.finish_build(build, &without_attempt(outcome, None, Some(equal)), at).await?;
            make_history(tx, suite.builder, build, None, at).await?;
            Ok(false)
        }
        // The equal build is under way: its verdicts will stand for this change too.
        Some(Build { outcome: None, .. }) => Ok(false),
    }
}

/// The end of a build that no worker ran.
fn without_attempt(outcome: Outcome, cause: Option<Cause>, same_as: Option<BuildId>) -> Finish {
    Finish { judged: BuildResult { outcome, cause, step: None }, attempt: None, artifact: None, same_as }
}

/// Enqueues a toolchain build with these inputs. Returns whether there is a recipe for it.
pub async fn enqueue_toolchain(
    tx: &mut Write<'_>,
    builder: &Builder,
    change: ChangeId,
    inputs: Option<ToolchainInputsId>,
    reason: Reason,
    at: Timestamp,
) -> store::Result<bool> {
    let new = toolchain_build(tx, builder, change, inputs, reason).await?;
    if let Some(new) = &new {
        tx.enqueue_build(new, at).await?;
    }
    Ok(new.is_some())
}

/// A toolchain build with these inputs; none when no recipe is known for them.
pub async fn toolchain_build(
    tx: &mut Write<'_>,
    builder: &Builder,
    change: ChangeId,
    inputs: Option<ToolchainInputsId>,
    reason: Reason,
) -> store::Result<Option<NewBuild>> {
    let (recipe, environment) = match inputs {
        Some(inputs) => {
            let ToolchainInputs { recipe, environment } = tx.toolchain_inputs(inputs).await?.inputs;
            (recipe, environment)
        }
        // A history that is older than toolchain inputs is completed with the recipe that it has.
        None => match tx.recipe_before_toolchain_inputs(builder.id).await? {
            Some(recipe) => (recipe, None),
            None => return Ok(None),
        },
    };
    let sha = tx.change(change).await?.sha;
    let steps = tx.recipe(recipe).await?;
    Ok(Some(NewBuild {
        builder: builder.id,
        change,
        pin: None,
        toolchain_inputs: inputs,
        recipe,
        reason,
        breakage: None,
        only_worker: None,
        inputs: inputs_hash::toolchain(&sha, &steps, environment.as_deref(), &builder.hashed_target()),
        artifact: None,
    }))
}

pub async fn suite_build(tx: &mut Write<'_>, suite: SuiteBuild<'_>) -> store::Result<NewBuild> {
    let SuiteBuild { builder, change, toolchain, pin, reason } = suite;
    let recipe = tx.recipe(pin.project_inputs.recipe).await?;
    let lock = pin.lock.map(|lock| lock.sha256);
    let project = SuiteInputs { revision: &pin.project_inputs.revision, lock, recipe: &recipe };
    // A broken toolchain has no artifact. A suite that is blocked on it gets inputs that nothing else can equal.
    let artifact = toolchain.artifact;
    let hashed = match artifact {
        Some(artifact) => artifact,
        None => {
            inputs_hash::toolchain(&tx.change(change).await?.sha, &recipe, None, &builder.hashed_target())
        }
    };
    let only_worker = match artifact {
        Some(artifact) => tx.artifact(artifact).await?.and_then(|artifact| artifact.only_worker),
        None => None,
    };
    Ok(NewBuild {
        builder: builder.id,
        change,
        pin: Some(pin.id),
        toolchain_inputs: toolchain.inputs.toolchain,
        recipe: pin.project_inputs.recipe,
        reason,
        breakage: None,
        only_worker,
        inputs: inputs_hash::suite(&hashed, &project, &pin.project_inputs.needs, &builder.hashed_target()),
        artifact,
    })
}
