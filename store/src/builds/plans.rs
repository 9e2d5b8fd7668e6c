//! What a worker has to know about a build, in one query: the first process of a build waits for it.

use domain::variant::{NAME_VARIABLE, target};
use domain::words::ids::{AttemptId, BuildId, PlatformId};
use domain::words::{BuilderKind, Reason};
use protocol::{LockFile, NeedSource, Plan, Recipe, Source, ToolchainFile};

use crate::db::number::from_row;
use crate::db::transaction::Read;
use crate::error::{Error, Result, sha256, word};
use crate::upstream::builders;

impl Read<'_> {
    /// What a worker needs to know to run a build. `NotFound` if the build, its pin or its toolchain is missing.
    pub async fn plan(&mut self, build: BuildId) -> Result<Plan> {
        let row = sqlx::query!(
            r#"select br.kind, b.reason, c.sha as change, r.json as recipe, t.name as trunk, t.git as trunk_git,
                   branch.name as branch, pf.label, br.variant, br.variant_name, pr.name as "project?", pr.git as "project_git?",
                   pin.revision as "revision?", pin.needs as "needs?", pin.lock_sha256 as "lock?",
                   pin.lock_bytes as "lock_bytes?", a.sha256 as "artifact?", a.bytes as "bytes?"
             from build b join builder br on br.id = b.builder_id join change c on c.id = b.change_id
                 join recipe r on r.sha256 = b.recipe_sha256 join trunk t on t.id = c.trunk_id
                 join branch on branch.id = br.branch_id join platform pf on pf.id = br.platform_id
                 left join project pr on pr.id = br.project_id left join pin on pin.id = b.pin_id
                 left join artifact a on a.sha256 = b.artifact_sha256
             where b.id = ?"#,
            build.0
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("build"))?;
        let reason = word(&row.reason, Reason::parse)?;
        let target = target(&row.label, row.variant_name.as_deref());
        let builder = builders::name(row.project.as_deref(), &row.trunk, &row.branch, &target);
        let (source, toolchain) = match word(&row.kind, BuilderKind::parse)? {
            BuilderKind::Toolchain => (Source { git: row.trunk_git, revision: row.change.clone() }, None),
            BuilderKind::Suite => {
                let git = row.project_git.ok_or(Error::NotFound("project"))?;
                // A build that determines the newest revision needs none.
                let revision = match reason {
                    Reason::Latest => String::new(),
                    Reason::Tip
                    | Reason::Backfill
                    | Reason::Baseline
                    | Reason::Probe
                    | Reason::Null
                    | Reason::Force => row.revision.ok_or(Error::NotFound("pin"))?,
                };
                let artifact = row.artifact.ok_or(Error::NotFound("toolchain"))?;
                let bytes = from_row(row.bytes.ok_or(Error::NotFound("toolchain"))?)?;
                (Source { git, revision }, Some(ToolchainFile { sha256: sha256(&artifact)?, bytes }))
            }
        };
        let lock = match (row.lock, row.lock_bytes) {
            (Some(lock), Some(bytes)) => Some(LockFile { sha256: sha256(&lock)?, bytes: from_row(bytes)? }),
            (..) => None,
        };
        Ok(Plan {
            builder,
            change: row.change,
            source,
            toolchain,
            recipe: with_variant(parse(&row.recipe)?, row.variant),
            cases: if reason == Reason::Probe { self.names_of_selected(build).await? } else { Vec::new() },
            needs: match row.needs.as_deref() {
                None | Some("[]") => Vec::new(),
                Some(needs) => self.needs_of(needs).await?,
            },
            lock,
            answer: reason == Reason::Latest,
            caches: Vec::new(),
        })
    }

    /// The newest toolchain build of a platform, whatever became of it.
    pub async fn newest_toolchain_build(&mut self, platform: PlatformId) -> Result<Option<BuildId>> {
        let id = sqlx::query_scalar!(
            r#"select max((select b.id from build b indexed by build_by_cell join branch_change bc
                     on bc.branch_id = br.branch_id and bc.change_id = b.change_id
                 where b.builder_id = br.id and b.reason in ('tip', 'backfill')
                     and b.change_id in (select c.change_id from branch_change c
                         where c.branch_id = br.branch_id and c.gone_at_ms is null order by c.position desc limit 20)
                 order by bc.position desc, b.id desc limit 1)) as "id: i64"
             from builder br where br.platform_id = ? and br.project_id is null and br.state = 'active'"#,
            platform.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(id.map(BuildId))
    }

    /// The only cases that a probe is asked for.
    async fn names_of_selected(&mut self, build: BuildId) -> Result<Vec<String>> {
        let names = sqlx::query_scalar!(
            r#"select n.name as "name!: String" from selected_run s cross join json_each(s.cases) one
                 cross join named_case n on n.id = one.value
             where s.build_id = ? order by n.name"#,
            build.0
        );
        Ok(names.fetch_all(&mut *self.connection).await?)
    }

    /// The repositories of the projects that project inputs need.
    async fn needs_of(&mut self, needs: &str) -> Result<Vec<NeedSource>> {
        let rows = sqlx::query!(
            r#"select p.name, p.git, input.value ->> 1 as "revision!: String"
             from json_each(?) input join project p on p.name = input.value ->> 0 order by p.name"#,
            needs
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let need = |name, git, revision| NeedSource { name, source: Source { git, revision } };
        Ok(rows.into_iter().map(|row| need(row.name, row.git, row.revision)).collect())
    }

    /// The trunk of a build, and what it runs.
    pub async fn trunk_and_recipe(&mut self, build: BuildId) -> Result<(String, Recipe)> {
        let row = sqlx::query!(
            "select t.name, r.json from build b join change c on c.id = b.change_id join trunk t on t.id = c.trunk_id
                 join recipe r on r.sha256 = b.recipe_sha256
             where b.id = ?",
            build.0
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("build"))?;
        Ok((row.name, parse(&row.json)?))
    }

    /// The recipe that an attempt runs.
    pub async fn recipe_of(&mut self, attempt: AttemptId) -> Result<Recipe> {
        let json = sqlx::query_scalar!(
            "select r.json from attempt a join build b on b.id = a.build_id
                 join recipe r on r.sha256 = b.recipe_sha256
             where a.id = ?",
            attempt.0
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("attempt"))?;
        parse(&json)
    }
}

/// A suite's steps get the variant's name as well; a toolchain's recipe has it already.
fn with_variant(mut recipe: Recipe, variant: String) -> Recipe {
    if !variant.is_empty() {
        recipe.env.insert(NAME_VARIABLE.into(), variant);
    }
    recipe
}

fn parse(json: &str) -> Result<Recipe> {
    serde_json::from_str(json).map_err(|e| Error::Row(format!("recipe: {e}")))
}
