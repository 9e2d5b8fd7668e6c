//! Toolchain inputs: the recipes and environments with which the toolchains of a builder are made, or were.

use domain::dispatch::makers::Maker;
use domain::project_inputs::toolchain::ToolchainInputs;
use domain::words::Trust;
use domain::words::ids::{AttemptId, BuilderId, Timestamp, ToolchainInputsId, WorkerId};
use domain::words::states::ToolchainInputsState;
use protocol::Sha256;

use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, one_row, sha256, word};

/// The toolchain inputs of a builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderInputs {
    /// Their id.
    pub id: ToolchainInputsId,
    /// The builder of the toolchains.
    pub builder: BuilderId,
    /// Whether they are in use.
    pub state: ToolchainInputsState,
    /// Recipe and environment.
    pub inputs: ToolchainInputs,
    /// Since when they, and the proposals before them, wait because the old good change cannot be built.
    pub worse_since: Option<Timestamp>,
    /// When they were taken into use.
    pub since: Option<Timestamp>,
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_string).collect()
}

macro_rules! builder_inputs {
    ($row:expr) => {
        BuilderInputs {
            id: ToolchainInputsId($row.id),
            builder: BuilderId($row.builder_id),
            state: word(&$row.state, ToolchainInputsState::parse)?,
            inputs: ToolchainInputs {
                recipe: sha256(&$row.recipe_sha256)?,
                environment: $row.environment.as_deref().map(lines),
            },
            worse_since: $row.worse_since_ms.map(Timestamp),
            since: $row.since_ms.map(Timestamp),
        }
    };
}

impl Read<'_> {
    /// The toolchain inputs of a builder that are proposed or in use.
    pub async fn live_toolchain_inputs(&mut self, builder: BuilderId) -> Result<Vec<BuilderInputs>> {
        let rows = sqlx::query!(
            r#"select id as "id!", builder_id as "builder_id!", state as "state!", recipe_sha256 as "recipe_sha256!",
                 environment, worse_since_ms, since_ms
             from toolchain_inputs where builder_id = ?1 and state = 'current'
             union all
             select id, builder_id, state, recipe_sha256, environment, worse_since_ms, since_ms
             from toolchain_inputs where builder_id = ?1 and state = 'proposed'"#,
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut live = Vec::with_capacity(rows.len());
        for row in rows {
            live.push(builder_inputs!(row));
        }
        Ok(live)
    }

    /// One set of toolchain inputs. `NotFound` if there is none.
    pub async fn toolchain_inputs(&mut self, id: ToolchainInputsId) -> Result<BuilderInputs> {
        let row = sqlx::query!(
            r#"select id as "id!", builder_id, state, recipe_sha256, environment, worse_since_ms, since_ms
             from toolchain_inputs where id = ?"#,
            id.0
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("toolchain inputs"))?;
        Ok(builder_inputs!(row))
    }

    /// The recipe of a builder's newest history build that is older than toolchain inputs.
    pub async fn recipe_before_toolchain_inputs(&mut self, builder: BuilderId) -> Result<Option<Sha256>> {
        let recipe = sqlx::query_scalar!(
            "select recipe_sha256 from build
             where builder_id = ? and makes_history and toolchain_inputs_id is null order by id desc limit 1",
            builder.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        recipe.as_deref().map(sha256).transpose()
    }

    /// The workers that may make toolchains, and are connected or were seen since then.
    pub async fn makers(&mut self, since: Timestamp) -> Result<Vec<Maker>> {
        let maker = Trust::Maker.as_str();
        let rows = sqlx::query!(
            r#"select w.id as "id!", w.facts, e.properties as "properties?" from worker w
                 left join environment e on e.sha256 = w.environment_sha256
             where w.trust = ? and w.standing = 'active' and (w.connected = 1 or w.seen_at_ms >= ?) order by w.id"#,
            maker,
            since.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut makers = Vec::with_capacity(rows.len());
        for row in rows {
            makers.push(Maker {
                worker: WorkerId(row.id),
                facts: serde_json::from_str(&row.facts).map_err(|e| Error::Row(format!("facts: {e}")))?,
                environment: row.properties.as_deref().map(lines),
            });
        }
        Ok(makers)
    }

    /// The properties of the environment in which an attempt ran, if its worker reported them.
    pub async fn environment_of(&mut self, attempt: AttemptId) -> Result<Option<Vec<String>>> {
        let properties = sqlx::query_scalar!(
            "select e.properties from attempt a join environment e on e.sha256 = a.environment_sha256
             where a.id = ?",
            attempt.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(properties.as_deref().map(lines))
    }
}

impl Write<'_> {
    /// Proposes toolchain inputs in place of those that were proposed before. If those waited because the old good change
    /// cannot be built, the new ones continue that wait. Inputs that return get a row of their own, so that newer ones have
    /// the higher number.
    pub async fn propose_toolchain_inputs(
        &mut self,
        builder: BuilderId,
        inputs: &ToolchainInputs,
        now: Timestamp,
    ) -> Result<ToolchainInputsId> {
        let worse_since = sqlx::query_scalar!(
            r#"update toolchain_inputs set state = 'dropped' where builder_id = ? and state = 'proposed'
             returning worse_since_ms as "since: i64""#,
            builder.0
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .flatten();
        let id = self.put_toolchain_inputs(builder, ToolchainInputsState::Proposed, inputs, now).await?;
        sqlx::query!("update toolchain_inputs set worse_since_ms = ? where id = ?", worse_since, id.0)
            .execute(&mut *self.connection)
            .await?;
        Ok(id)
    }

    /// Records inputs with which a toolchain was made apart from those in use.
    pub async fn put_dropped_toolchain_inputs(
        &mut self,
        builder: BuilderId,
        inputs: &ToolchainInputs,
        now: Timestamp,
    ) -> Result<ToolchainInputsId> {
        self.put_toolchain_inputs(builder, ToolchainInputsState::Dropped, inputs, now).await
    }

    async fn put_toolchain_inputs(
        &mut self,
        builder: BuilderId,
        state: ToolchainInputsState,
        inputs: &ToolchainInputs,
        now: Timestamp,
    ) -> Result<ToolchainInputsId> {
        let (recipe, state) = (inputs.recipe.0.as_slice(), state.as_str());
        let environment = inputs.environment.as_ref().map(|environment| environment.join("\n"));
        let id = sqlx::query_scalar!(
            "insert into toolchain_inputs (builder_id, state, recipe_sha256, environment, proposed_at_ms)
             values (?, ?, ?, ?, ?) returning id as \"id!\"",
            builder.0,
            state,
            recipe,
            environment,
            now.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(ToolchainInputsId(id))
    }

    /// Takes proposed toolchain inputs into use. Those in use before, if any, become past. `Conflict` if they are not
    /// proposed.
    pub async fn take_toolchain_inputs(&mut self, id: ToolchainInputsId, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "update toolchain_inputs set state = 'past', until_ms = ? where state = 'current'
                 and builder_id = (select next.builder_id from toolchain_inputs next where next.id = ?)",
            now.0,
            id.0
        )
        .execute(&mut *self.connection)
        .await?;
        let taken = sqlx::query!(
            "update toolchain_inputs set state = 'current', since_ms = ?, worse_since_ms = null
             where id = ? and state = 'proposed'",
            now.0,
            id.0
        );
        one_row(taken.execute(&mut *self.connection).await?, "the toolchain inputs are not proposed")
    }

    /// Drops proposed toolchain inputs: those in use are wanted again. `Conflict` if they are not proposed.
    pub async fn drop_toolchain_inputs(&mut self, id: ToolchainInputsId) -> Result<()> {
        let dropped = sqlx::query!(
            "update toolchain_inputs set state = 'dropped' where id = ? and state = 'proposed'",
            id.0
        );
        one_row(dropped.execute(&mut *self.connection).await?, "the toolchain inputs are not proposed")
    }

    /// Records that proposed toolchain inputs wait because the old good change cannot be built with them, unless an earlier
    /// proposal waited already.
    pub async fn mark_toolchain_inputs_worse(&mut self, id: ToolchainInputsId, now: Timestamp) -> Result<()> {
        sqlx::query!(
            "update toolchain_inputs set worse_since_ms = coalesce(worse_since_ms, ?)
             where id = ? and state = 'proposed'",
            now.0,
            id.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Records the environment of the first toolchain that was made with these inputs.
    pub async fn learn_toolchain_environment(
        &mut self,
        id: ToolchainInputsId,
        environment: &[String],
    ) -> Result<()> {
        let environment = environment.join("\n");
        sqlx::query!(
            "update toolchain_inputs set environment = ? where id = ? and environment is null",
            environment,
            id.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
