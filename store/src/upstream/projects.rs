//! Projects and recipes.

use domain::project_inputs::inputs_hash;
use domain::words::ids::{ProjectId, Timestamp, TrunkId};
use protocol::{Recipe, Sha256};

use crate::db::number::from_row;
use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, json, one_row};

/// A registered project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its trunk.
    pub trunk: TrunkId,
    /// Its name.
    pub name: String,
    /// The URL of its repository; empty if a fetch step brings its source.
    pub git: String,
    /// What a worker must offer.
    pub wants: Vec<String>,
    /// The newest revision seen upstream.
    pub newest: Option<String>,
    /// How many polls in a row have failed.
    pub failures: u32,
}

macro_rules! project {
    ($row:expr) => {
        Project {
            id: ProjectId($row.id),
            trunk: TrunkId($row.trunk_id),
            name: $row.name,
            git: $row.git,
            wants: serde_json::from_str(&$row.wants).map_err(|e| Error::Row(format!("wants: {e}")))?,
            newest: $row.newest,
            failures: from_row($row.failures)?,
        }
    };
}

impl Read<'_> {
    /// The registered projects, by name.
    pub async fn projects(&mut self) -> Result<Vec<Project>> {
        let rows = sqlx::query!(
            "select id, trunk_id, name, git, wants, newest, failures from project
             where state = 'registered' order by name"
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut projects = Vec::with_capacity(rows.len());
        for row in rows {
            projects.push(project!(row));
        }
        Ok(projects)
    }

    /// One project. `NotFound` if there is none.
    pub async fn project(&mut self, project: ProjectId) -> Result<Project> {
        let row = sqlx::query!(
            "select id, trunk_id, name, git, wants, newest, failures from project where id = ?",
            project.0
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("project"))?;
        Ok(project!(row))
    }

    /// A recipe by its hash. `NotFound` if there is none.
    pub async fn recipe(&mut self, recipe: Sha256) -> Result<Recipe> {
        let sha = recipe.0.as_slice();
        let json = sqlx::query_scalar!("select json from recipe where sha256 = ?", sha)
            .fetch_optional(&mut *self.connection)
            .await?
            .ok_or(Error::NotFound("recipe"))?;
        serde_json::from_str(&json).map_err(|e| Error::Row(format!("recipe {recipe}: {e}")))
    }
}

impl Write<'_> {
    /// Stores a recipe, unless it is known already.
    pub async fn put_recipe(&mut self, recipe: &Recipe) -> Result<Sha256> {
        let sha256 = inputs_hash::recipe(recipe);
        let (sha, json) = (sha256.0.as_slice(), inputs_hash::recipe_json(recipe));
        sqlx::query!("insert or ignore into recipe (sha256, json) values (?, ?)", sha, json)
            .execute(&mut *self.connection)
            .await?;
        Ok(sha256)
    }

    /// Registers a project, or changes its trunk and repository.
    pub async fn put_project(&mut self, trunk: TrunkId, name: &str, git: &str) -> Result<ProjectId> {
        let id = sqlx::query_scalar!(
            "insert into project (trunk_id, name, git, state) values (?, ?, ?, 'registered')
             on conflict (name) do update
                 set trunk_id = excluded.trunk_id, git = excluded.git, state = 'registered'
             returning id as \"id!\"",
            trunk.0,
            name,
            git
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(ProjectId(id))
    }

    /// What a worker must offer to run a project's suite.
    pub async fn set_project_wants(&mut self, project: ProjectId, wants: &[String]) -> Result<()> {
        let wants = json(&wants)?;
        let set = sqlx::query!("update project set wants = ? where id = ?", wants, project.0);
        one_row(set.execute(&mut *self.connection).await?, "the project is not registered")
    }

    /// Retires a project that the configuration no longer has; its results stay.
    pub async fn retire_project(&mut self, project: ProjectId) -> Result<()> {
        let retired = sqlx::query!("update project set state = 'retired' where id = ?", project.0);
        one_row(retired.execute(&mut *self.connection).await?, "the project is not registered")
    }

    /// Records a poll that succeeded. A revision that has become the newest one again, or is it still after polls
    /// that failed, is no longer missing, unless a project that it needs is.
    pub async fn record_project_poll(
        &mut self,
        project: ProjectId,
        newest: &str,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query!(
            "update pin set missing_since_ms = null
             where project_id = ?1 and state = 'current' and revision = ?2 and missing_since_ms is not null
                 and exists (select 1 from project
                     where id = ?1 and (newest is not ?2 or failing_since_ms is not null))
                 and not exists (select 1 from json_each(pin.needs) need join project p on p.name = need.value ->> 0
                     join pin needed on needed.project_id = p.id
                     where needed.branch_id = pin.branch_id and needed.state = 'current'
                         and needed.revision = need.value ->> 1 and needed.missing_since_ms is not null)",
            project.0,
            newest
        )
        .execute(&mut *self.connection)
        .await?;
        let polled = sqlx::query!(
            "update project set polled_at_ms = ?, newest = ?, failing_since_ms = null, failures = 0, failure = null
             where id = ?",
            now.0,
            newest,
            project.0
        );
        one_row(polled.execute(&mut *self.connection).await?, "the project is not registered")
    }

    /// Records a poll that failed.
    pub async fn record_project_failure(
        &mut self,
        project: ProjectId,
        failure: &str,
        now: Timestamp,
    ) -> Result<()> {
        let failed = sqlx::query!(
            "update project set failing_since_ms = coalesce(failing_since_ms, ?), failures = failures + 1, failure = ?
             where id = ?",
            now.0,
            failure,
            project.0
        );
        one_row(failed.execute(&mut *self.connection).await?, "the project is not registered")
    }
}
