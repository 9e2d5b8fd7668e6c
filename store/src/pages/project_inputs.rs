//! A project's page: its inputs, how their baselines were judged, and which projects need it.

use domain::project_inputs::ProjectInputs;
use domain::search::selection::Disagreement;
use domain::sentences::FetchFailure;
use domain::words::BuildState;
use domain::words::ids::{BreakageId, ProjectId, Timestamp};

use super::BuilderRow;
use crate::db::transaction::Read;
use crate::error::{Error, Result, sha256, word};
use crate::upstream::pins::{PinLock, PinState};

/// A project as its page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectPage {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its trunk's name.
    pub trunk: String,
    /// The URL of its repository.
    pub git: String,
    /// What a worker must offer.
    pub wants: Vec<String>,
    /// Whether the configuration still has it.
    pub is_registered: bool,
    /// The newest revision seen upstream.
    pub newest: Option<String>,
    /// When it was last polled; none before the first time.
    pub polled_at: Option<Timestamp>,
    /// Since when its repository or registry cannot be read, and why.
    pub failing: Option<(Timestamp, String)>,
    /// When and why the farm stopped to ask its suite for single cases, and the breakage that showed it.
    pub withdrawn: Option<(Timestamp, Disagreement, BreakageId)>,
    /// Since when it cannot fetch what it needs, and why.
    pub unfetched: Option<(Timestamp, FetchFailure)>,
}

/// Project inputs on one branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectInputsRow {
    /// Their id.
    pub pin: i64,
    /// The branch's name.
    pub branch: String,
    /// Whether they are in use.
    pub state: PinState,
    /// Revision, recipe and needs.
    pub project_inputs: ProjectInputs,
    /// The exact dependencies, once a run chose them.
    pub lock: Option<PinLock>,
    /// When they were proposed.
    pub proposed_at: Timestamp,
    /// Since when they wait because cases got worse.
    pub worse_since: Option<Timestamp>,
    /// Since when their source has been missing at its repository.
    pub missing_since: Option<Timestamp>,
    /// When they were taken into use.
    pub since: Option<Timestamp>,
    /// When others replaced them.
    pub until: Option<Timestamp>,
}

/// The last baseline of a builder for project inputs, and how it was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselineRow {
    /// The project inputs.
    pub pin: i64,
    /// The build.
    pub build: i64,
    /// The platform's label.
    pub platform: String,
    /// What its variant is called; none where its trunk has the default build only.
    pub variant: Option<String>,
    /// The build's state.
    pub state: BuildState,
    /// Whether it made cases worse; none while it is not judged.
    pub is_worse: Option<bool>,
    /// The first of the cases that got worse.
    pub cases: Vec<String>,
    /// How many cases got worse.
    pub cases_count: i64,
}

const MAX_INPUTS: i64 = 60;
const MAX_CASES: i64 = 12;
const MAX_DEPENDENTS: i64 = 100;
const MAX_BUILDERS: i64 = 200;

impl Read<'_> {
    /// One project. `NotFound` if there is none.
    pub async fn project_page(&mut self, name: &str) -> Result<ProjectPage> {
        let row = sqlx::query!(
            r#"select p.id as "id!", p.name, p.git, p.wants, p.state, p.newest, p.polled_at_ms, p.failing_since_ms,
                 p.failure, t.name as trunk
             from project p join trunk t on t.id = p.trunk_id where p.name = ?"#,
            name
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("project"))?;
        let failing = self.failing_fetches().await?;
        let unfetched = failing.into_iter().find(|one| one.project.0 == row.id);
        let withdrawn = self.last_withdrawal(ProjectId(row.id)).await?;
        Ok(ProjectPage {
            withdrawn,
            unfetched: unfetched.map(|one| (one.since, one.failure)),
            id: row.id,
            name: row.name,
            trunk: row.trunk,
            git: row.git,
            wants: serde_json::from_str(&row.wants).map_err(|e| Error::Row(format!("wants: {e}")))?,
            is_registered: row.state == "registered",
            newest: row.newest,
            polled_at: row.polled_at_ms.map(Timestamp),
            failing: row.failing_since_ms.map(Timestamp).zip(row.failure),
        })
    }

    /// All inputs of a project, the newest first.
    pub async fn project_inputs_rows(&mut self, project: i64) -> Result<Vec<ProjectInputsRow>> {
        let rows = sqlx::query!(
            r#"select p.id as "id!", b.name as branch, p.state, p.revision, p.recipe_sha256, p.needs, p.lock_sha256,
                 p.lock_bytes, p.locked_at_ms, p.proposed_at_ms, p.worse_since_ms, p.missing_since_ms, p.since_ms,
                 p.until_ms
             from pin p join branch b on b.id = p.branch_id where p.project_id = ? order by p.id desc limit ?"#,
            project,
            MAX_INPUTS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut inputs = Vec::with_capacity(rows.len());
        for row in rows {
            inputs.push(ProjectInputsRow {
                pin: row.id,
                branch: row.branch,
                state: word(&row.state, PinState::parse)?,
                project_inputs: ProjectInputs {
                    revision: row.revision,
                    recipe: sha256(&row.recipe_sha256)?,
                    needs: serde_json::from_str(&row.needs).map_err(|e| Error::Row(format!("needs: {e}")))?,
                },
                lock: PinLock::from_columns(row.lock_sha256, row.lock_bytes, row.locked_at_ms)?,
                proposed_at: Timestamp(row.proposed_at_ms),
                worse_since: row.worse_since_ms.map(Timestamp),
                missing_since: row.missing_since_ms.map(Timestamp),
                since: row.since_ms.map(Timestamp),
                until: row.until_ms.map(Timestamp),
            });
        }
        Ok(inputs)
    }

    /// The last baseline of each builder for each set of a project's inputs.
    pub async fn baseline_rows(&mut self, project: i64) -> Result<Vec<BaselineRow>> {
        let rows = sqlx::query!(
            r#"select b.pin_id as "pin!", max(b.id) as "build!: i64", b.state as "state!", pl.label as "platform!", br.variant_name as "variant?", s.state as "judged?",
                 (select count(*) from baseline_case c where c.pin_id = b.pin_id and c.builder_id = b.builder_id) as "count!: i64",
                 (select json_group_array(name) from (select n.name from baseline_case c join named_case n on n.id = c.case_id
                     where c.pin_id = b.pin_id and c.builder_id = b.builder_id order by n.name limit ?)) as "cases!: String"
             from pin p cross join build b on b.pin_id = p.id and b.reason = 'baseline' join builder br on br.id = b.builder_id
                 join platform pl on pl.id = br.platform_id
                 left join baseline s on s.pin_id = b.pin_id and s.builder_id = b.builder_id
             where p.project_id = ? group by b.pin_id, b.builder_id order by b.pin_id desc, pl.label limit ?"#,
            MAX_CASES,
            project,
            MAX_INPUTS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut baselines = Vec::with_capacity(rows.len());
        for row in rows {
            baselines.push(BaselineRow {
                pin: row.pin,
                build: row.build,
                platform: row.platform,
                variant: row.variant,
                state: word(&row.state, BuildState::parse)?,
                is_worse: row.judged.map(|judged| judged == "worse"),
                cases: serde_json::from_str(&row.cases).map_err(|e| Error::Row(format!("cases: {e}")))?,
                cases_count: row.count,
            });
        }
        Ok(baselines)
    }

    /// Projects whose inputs in use need this one.
    pub async fn dependents(&mut self, name: &str) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar!(
            r#"select distinct p.name as "name!" from pin join project p on p.id = pin.project_id
             where pin.state = 'current' and p.state = 'registered'
                 and exists (select 1 from json_each(pin.needs) need where need.value ->> 0 = ?)
             order by p.name limit ?"#,
            name,
            MAX_DEPENDENTS
        )
        .fetch_all(&mut *self.connection)
        .await?)
    }

    /// The projects that a builder's project needs, with the inputs in use on its branch.
    pub async fn needs_of_builder(&mut self, builder: i64) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar!(
            r#"select need.value ->> 0 as "name!: String" from builder br
                 join pin on pin.project_id = br.project_id and pin.branch_id = br.branch_id and pin.state = 'current'
                 join json_each(pin.needs) need
             where br.id = ? order by 1 limit ?"#,
            builder,
            MAX_DEPENDENTS
        )
        .fetch_all(&mut *self.connection)
        .await?)
    }

    /// The builders of a project, those of its trunk's branches in order.
    pub async fn builder_rows(&mut self, project: i64) -> Result<Vec<BuilderRow>> {
        Ok(sqlx::query_as!(
            BuilderRow,
            r#"select br.id as "id!", p.name as "project?", t.name as trunk, b.name as branch, pl.label as platform, br.variant_name as "variant?"
             from builder br join branch b on b.id = br.branch_id join trunk t on t.id = b.trunk_id
                 join platform pl on pl.id = br.platform_id join project p on p.id = br.project_id
             where br.project_id = ? and br.state = 'active' order by b.id, pl.label limit ?"#,
            project,
            MAX_BUILDERS
        )
        .fetch_all(&mut *self.connection)
        .await?)
    }
}
