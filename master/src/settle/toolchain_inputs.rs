//! Records in which environment a toolchain was made: one that was made elsewhere joins no history of the others.

use domain::dispatch::makers::makers_of;
use domain::project_inputs::inputs_hash;
use domain::project_inputs::toolchain::{self, MakerEnvironment, ToolchainInputs};
use domain::words::ids::{AttemptId, Timestamp, WorkerId};
use domain::words::states::ToolchainInputsState;
use store::{Build, Builder, Write};

use crate::farm::makers::load_makers;

/// Gives a toolchain build that is about to finish the inputs that it really had. Those of another environment are proposed
/// if no maker has the environment of its inputs any longer.
pub async fn record_environment(
    tx: &mut Write<'_>,
    builder: &Builder,
    build: &Build,
    (attempt, worker): (AttemptId, WorkerId),
    at: Timestamp,
) -> store::Result<()> {
    let Some(properties) = tx.environment_of(attempt).await? else { return Ok(()) };
    let Some(inputs) = build.toolchain_inputs else { return Ok(()) };
    let row = tx.toolchain_inputs(inputs).await?;
    let environment = toolchain::counted(&properties);
    let mut homes = match &row.inputs.environment {
        Some(own) => makers_of(&load_makers(tx, at).await?, &builder.label, own),
        None => Default::default(),
    };
    homes.remove(&worker);
    let live = tx.live_toolchain_inputs(builder.id).await?;
    let is_switching = live.iter().any(|inputs| inputs.state == ToolchainInputsState::Proposed);
    let has_maker = !homes.is_empty();
    let made_in = toolchain::made_in(&row.inputs, row.state, &environment, has_maker, is_switching);
    let own = ToolchainInputs { recipe: row.inputs.recipe, environment: Some(environment.clone()) };
    let id = match made_in {
        MakerEnvironment::Same => return Ok(()),
        MakerEnvironment::First => return tx.learn_toolchain_environment(inputs, &environment).await,
        MakerEnvironment::Proposed => {
            let differs = toolchain::differs(Some(&row.inputs), &own).join("; ");
            tracing::info!(builder = builder.name, differs, "new toolchain inputs are proposed");
            tx.propose_toolchain_inputs(builder.id, &own, at).await?
        }
        MakerEnvironment::Apart => tx.put_dropped_toolchain_inputs(builder.id, &own, at).await?,
    };
    let (change, recipe) = (tx.change(build.change).await?, tx.recipe(build.recipe).await?);
    let hash = inputs_hash::toolchain(&change.sha, &recipe, Some(&environment), &builder.hashed_target());
    tx.set_toolchain_inputs(build.id, id, hash).await
}
