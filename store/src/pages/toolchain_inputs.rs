//! Where the toolchain inputs of a branch changed, and what differs there.

use domain::project_inputs::toolchain::ToolchainInputs;
use domain::words::ids::Timestamp;
use protocol::Verdict;

use super::changes::change_row;
use super::{BuilderRow, ChangeRow};
use crate::cases::verdicts::verdict;
use crate::db::transaction::Read;
use crate::error::{Result, sha256};

/// A change of the toolchain inputs of one builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchRow {
    /// The new inputs.
    pub id: i64,
    /// The builder of the toolchains.
    pub builder: BuilderRow,
    /// The change that was repeated with them.
    pub change: ChangeRow,
    /// The toolchain build that repeated it.
    pub build: i64,
    /// When they were taken into use.
    pub since: Timestamp,
    /// The inputs before; none for builds that are older than toolchain inputs.
    pub old: Option<ToolchainInputs>,
    /// The new inputs.
    pub new: ToolchainInputs,
}

/// A case with another verdict at the baseline of new toolchain inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchedCase {
    /// The project of its suite; none of a toolchain's.
    pub project: Option<String>,
    /// The case.
    pub case: String,
    /// What it did with the old inputs; none if it is new.
    pub was: Option<Verdict>,
    /// What it does with the new ones.
    pub became: Verdict,
}

impl Read<'_> {
    /// The changes of toolchain inputs on a branch, newest first.
    pub async fn switch_rows(&mut self, branch: i64, most: i64) -> Result<Vec<SwitchRow>> {
        let rows = sqlx::query!(
            r#"select ti.id as "id!", br.id as "builder!", t.name as "trunk!", bn.name as "branch!", pl.label as "platform!", br.variant_name as "variant?",
                 b.id as "build!", c.id as "change_id!", c.sha as "sha!", c.title as "title!", c.author as "author!",
                 c.committed_at_ms as "committed_at_ms!", ti.since_ms as "since_ms!",
                 ti.recipe_sha256 as "recipe!", ti.environment, old.recipe_sha256 as "old_recipe?",
                 old.environment as "old_environment?"
             from builder br join toolchain_inputs ti on ti.builder_id = br.id and ti.since_ms is not null
                 join build b on b.id = (select max(s.id) from build s
                     where s.toolchain_inputs_id = ti.id and s.builder_id = br.id and s.reason = 'baseline')
                 join change c on c.id = b.change_id join branch bn on bn.id = br.branch_id
                 join trunk t on t.id = bn.trunk_id join platform pl on pl.id = br.platform_id
                 left join toolchain_inputs old on old.id = (select max(o.id) from toolchain_inputs o
                     where o.builder_id = br.id and o.since_ms is not null and o.id < ti.id)
             where br.branch_id = ? and br.kind = 'toolchain' order by ti.id desc limit ?"#,
            branch,
            most
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let inputs = |recipe: &[u8], environment: Option<String>| -> Result<ToolchainInputs> {
            let environment = environment.map(|text| text.lines().map(str::to_string).collect());
            Ok(ToolchainInputs { recipe: sha256(recipe)?, environment })
        };
        let mut switches = Vec::with_capacity(rows.len());
        for row in rows {
            switches.push(SwitchRow {
                id: row.id,
                change: change_row!(row),
                build: row.build,
                since: Timestamp(row.since_ms),
                old: row.old_recipe.map(|recipe| inputs(&recipe, row.old_environment)).transpose()?,
                new: inputs(&row.recipe, row.environment)?,
                builder: BuilderRow {
                    id: row.builder,
                    project: None,
                    trunk: row.trunk,
                    branch: row.branch,
                    platform: row.platform,
                    variant: row.variant,
                },
            });
        }
        Ok(switches)
    }

    /// What differs at the baselines of toolchain inputs, those of the suites included. A suite's later baselines are those
    /// of project inputs.
    pub async fn switched_cases(&mut self, inputs: i64, most: i64) -> Result<Vec<SwitchedCase>> {
        let rows = sqlx::query!(
            r#"select p.name as "project?", n.name as "case!", x.was, x.became as "became!"
             from build b join builder br on br.id = b.builder_id join transition x on x.build_id = b.id
                 join named_case n on n.id = x.case_id left join project p on p.id = br.project_id
             where b.toolchain_inputs_id = ?1 and b.reason = 'baseline'
                 and b.pin_id is (select f.pin_id from build f where f.toolchain_inputs_id = ?1
                     and f.builder_id = b.builder_id and f.reason = 'baseline' order by f.id limit 1)
             order by p.name, n.name limit ?2"#,
            inputs,
            most
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut cases = Vec::with_capacity(rows.len());
        for row in rows {
            cases.push(SwitchedCase {
                project: row.project,
                case: row.case,
                was: row.was.as_deref().map(verdict).transpose()?,
                became: verdict(&row.became)?,
            });
        }
        Ok(cases)
    }
}
