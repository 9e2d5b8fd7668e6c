//! The toolchain builds with one set of toolchain inputs, whether or not they make history.

use std::collections::{BTreeMap, BTreeSet};

use domain::outcome::Outcome;
use domain::words::ids::{BuildId, BuilderId, ChangeId, ToolchainInputsId};
use domain::words::{BuildState, Reason};
use protocol::Sha256;

use super::{Build, HistoryCell, history_cell, inputs_id};
use crate::db::number::from_row;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, one_row, sha256, word};
use crate::upstream::builders::Builder;

impl Read<'_> {
    /// The toolchains of a builder with these inputs, by change: its history build, or else the newest forced one.
    pub async fn toolchain_cells(
        &mut self,
        builder: BuilderId,
        inputs: Option<ToolchainInputsId>,
    ) -> Result<BTreeMap<ChangeId, HistoryCell>> {
        let mut cells: BTreeMap<ChangeId, HistoryCell> = BTreeMap::new();
        for cell in self.history_cells(builder).await? {
            if cell.inputs.toolchain == inputs {
                cells.insert(cell.change, cell);
            }
        }
        let Some(inputs) = inputs else { return Ok(cells) };
        let rows = sqlx::query!(
            r#"select b.id as "id!", b.change_id, b.state, b.outcome, b.attempts, b.reason,
                 b.artifact_sha256 is not null as "made!: bool",
                 case when a.pruned_at_ms is null then a.sha256 end as artifact_sha256
             from build b left join artifact a on a.sha256 = b.artifact_sha256 where b.toolchain_inputs_id = ? and b.builder_id = ? and b.reason = 'force'
             order by b.id desc"#,
            inputs.0,
            builder.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        for row in rows {
            let change = ChangeId(row.change_id);
            if cells.contains_key(&change) {
                continue;
            }
            let cell = history_cell!(row, inputs_id(Some(inputs.0), None));
            cells.insert(change, cell);
        }
        Ok(cells)
    }

    /// The active builders of the same branch, platform and variant whose histories have not reached these toolchain inputs: the
    /// toolchains and their suites. A builder without a history has nothing to reach them from.
    pub async fn builders_behind(
        &mut self,
        toolchains: &Builder,
        inputs: ToolchainInputsId,
    ) -> Result<BTreeSet<BuilderId>> {
        let ids = sqlx::query_scalar!(
            r#"select br.id as "id!" from builder br
             where br.branch_id = ?1 and br.platform_id = ?2 and br.variant = ?4 and br.state = 'active'
                 and not exists (select 1 from build b join branch_change bc on bc.change_id = b.change_id
                     where b.toolchain_inputs_id = ?3 and b.builder_id = br.id and b.makes_history and b.is_verdict
                         and bc.branch_id = br.branch_id and bc.gone_at_ms is null)
                 and exists (select 1 from builder_history h join branch_change bc on bc.change_id = h.change_id
                     where h.builder_id = br.id and bc.branch_id = br.branch_id and bc.gone_at_ms is null)"#,
            toolchains.branch.0,
            toolchains.platform.0,
            inputs.0,
            toolchains.variant
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(BuilderId).collect())
    }

    /// Whether a worker has a history build of the builder.
    pub async fn is_history_leased(&mut self, builder: BuilderId) -> Result<bool> {
        let found = sqlx::query_scalar!(
            r#"select 1 as "found!: i64" from build where builder_id = ? and state = 'leased' and makes_history
             limit 1"#,
            builder.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(found.is_some())
    }

    /// The last build by which a builder repeated a change with these toolchain inputs. It is a forced one until they are
    /// taken into use.
    pub async fn toolchain_baseline(
        &mut self,
        builder: BuilderId,
        inputs: ToolchainInputsId,
    ) -> Result<Option<Build>> {
        let id = sqlx::query_scalar!(
            r#"select max(id) as "id: i64" from build
             where toolchain_inputs_id = ? and builder_id = ? and reason in ('force', 'baseline')"#,
            inputs.0,
            builder.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        match id {
            Some(id) => Ok(Some(self.build(BuildId(id)).await?)),
            None => Ok(None),
        }
    }
}

impl Write<'_> {
    /// Gives a toolchain build that was made in another environment the inputs that it really had. It is no part of any
    /// history. `Conflict` if it has ended.
    pub async fn set_toolchain_inputs(
        &mut self,
        build: BuildId,
        inputs: ToolchainInputsId,
        hash: Sha256,
    ) -> Result<()> {
        let hash = hash.0.as_slice();
        let set = sqlx::query!(
            "update build set toolchain_inputs_id = ?, inputs_sha256 = ?,
                 reason = case when makes_history then 'force' else reason end
             where id = ? and state <> 'finished'",
            inputs.0,
            hash,
            build.0
        );
        one_row(set.execute(&mut *self.connection).await?, "the build is finished already")
    }

    /// Makes the baseline of a forced build, since its toolchain inputs are in use now. `Conflict` if it was not forced.
    pub async fn promote_to_baseline(&mut self, build: BuildId) -> Result<()> {
        let promoted =
            sqlx::query!("update build set reason = 'baseline' where id = ? and reason = 'force'", build.0);
        one_row(promoted.execute(&mut *self.connection).await?, "the build was not forced")
    }
}
