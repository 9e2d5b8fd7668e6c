//! Builders, the farm's columns, and platforms.

use domain::variant::target;
use domain::words::BuilderKind;
use domain::words::ids::{BranchId, BuilderId, PlatformId, ProjectId, Timestamp};

use crate::db::transaction::{Read, Write};
use crate::error::{Error, Result, word};

/// A branch, a platform and a variant of the trunk, and for a suite a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builder {
    /// Its id.
    pub id: BuilderId,
    /// Whether it makes toolchains or runs a suite.
    pub kind: BuilderKind,
    /// Its branch.
    pub branch: BranchId,
    /// Its platform.
    pub platform: PlatformId,
    /// The platform's label.
    pub label: String,
    /// Its variant's key; empty for the default build.
    pub variant: String,
    /// What its variant is called; none where its trunk has the default build only.
    pub variant_name: Option<String>,
    /// Its project; none of a toolchain's.
    pub project: Option<ProjectId>,
    /// `lua master linux-x86_64`, or with the project before it, and with the variant behind it.
    pub name: String,
}

impl Builder {
    /// The platform and the variant, as an inputs hash has them: whatever the default build is called, its hashes stay.
    pub fn hashed_target(&self) -> String {
        target(&self.label, Some(&self.variant))
    }

    /// Its platform, with its variant where that has a name.
    pub fn target(&self) -> String {
        target(&self.label, self.variant_name.as_deref())
    }

    /// Whether suites of the one run with toolchains of the other.
    pub fn is_beside(&self, other: &Builder) -> bool {
        (self.branch, self.platform, &self.variant) == (other.branch, other.platform, &other.variant)
    }
}

/// A builder's name; `target` is its platform with its variant.
pub(crate) fn name(project: Option<&str>, trunk: &str, branch: &str, target: &str) -> String {
    match project {
        Some(project) => format!("{project} on {trunk} {branch} {target}"),
        None => format!("{trunk} {branch} {target}"),
    }
}

macro_rules! builder {
    ($row:expr) => {
        Builder {
            id: BuilderId($row.id),
            kind: word(&$row.kind, BuilderKind::parse)?,
            branch: BranchId($row.branch_id),
            platform: PlatformId($row.platform_id),
            name: name(
                $row.project.as_deref(),
                &$row.trunk,
                &$row.branch,
                &target(&$row.label, $row.variant_name.as_deref()),
            ),
            label: $row.label,
            variant: $row.variant,
            variant_name: $row.variant_name,
            project: $row.project_id.map(ProjectId),
        }
    };
}

impl Read<'_> {
    /// The active builders: toolchains first, then suites by project.
    pub async fn builders(&mut self) -> Result<Vec<Builder>> {
        let rows = sqlx::query!(
            r#"select b.id, b.kind, b.branch_id, b.platform_id, b.project_id, b.variant, b.variant_name,
                   p.label, br.name as branch, t.name as trunk, pr.name as "project?"
             from builder b join platform p on p.id = b.platform_id join branch br on br.id = b.branch_id
                 join trunk t on t.id = br.trunk_id left join project pr on pr.id = b.project_id
             where b.state = 'active' order by b.kind desc, pr.name, b.id"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut builders = Vec::with_capacity(rows.len());
        for row in rows {
            builders.push(builder!(row));
        }
        Ok(builders)
    }

    /// One builder. `NotFound` if there is none.
    pub async fn builder(&mut self, builder: BuilderId) -> Result<Builder> {
        let row = sqlx::query!(
            r#"select b.id, b.kind, b.branch_id, b.platform_id, b.project_id, b.variant, b.variant_name,
                   p.label, br.name as branch, t.name as trunk, pr.name as "project?"
             from builder b join platform p on p.id = b.platform_id join branch br on br.id = b.branch_id
                 join trunk t on t.id = br.trunk_id left join project pr on pr.id = b.project_id
             where b.id = ?"#,
            builder.0
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("builder"))?;
        Ok(builder!(row))
    }

    /// Since when a change that the farm finds is news to a builder: if it was there before the first change of its trunk,
    /// ever since; else since it was first given a build to make. None before that.
    pub async fn builder_since(&mut self, builder: BuilderId) -> Result<Option<Timestamp>> {
        let since = sqlx::query_scalar!("select since_ms from builder where id = ?", builder.0)
            .fetch_optional(&mut *self.connection)
            .await?;
        Ok(since.flatten().map(Timestamp))
    }

    /// All platforms with their labels, by label.
    pub async fn platforms(&mut self) -> Result<Vec<(PlatformId, String)>> {
        let rows = sqlx::query!("select id, label from platform order by label")
            .fetch_all(&mut *self.connection)
            .await?;
        Ok(rows.into_iter().map(|row| (PlatformId(row.id), row.label)).collect())
    }
}

impl Write<'_> {
    /// Registers a platform, unless it is known already.
    pub async fn put_platform(&mut self, label: &str) -> Result<PlatformId> {
        let id = sqlx::query_scalar!(
            "insert into platform (label) values (?) on conflict (label) do update set label = label returning id as \"id!\"",
            label
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(PlatformId(id))
    }

    /// Makes all builders retired; those that the configuration still names are then put back.
    pub async fn retire_builders(&mut self) -> Result<()> {
        sqlx::query!("update builder set state = 'retired'").execute(&mut *self.connection).await?;
        Ok(())
    }

    /// A builder of the default build, which has no name; of toolchains when no project is given.
    pub async fn put_builder(
        &mut self,
        branch: BranchId,
        platform: PlatformId,
        project: Option<ProjectId>,
    ) -> Result<BuilderId> {
        self.put_variant_builder(branch, platform, project, ("", None)).await
    }

    /// A builder of one variant: its key, which stays, and what it is called now.
    pub async fn put_variant_builder(
        &mut self,
        branch: BranchId,
        platform: PlatformId,
        project: Option<ProjectId>,
        (variant, variant_name): (&str, Option<&str>),
    ) -> Result<BuilderId> {
        let kind = if project.is_some() { BuilderKind::Suite } else { BuilderKind::Toolchain }.as_str();
        let project = project.map(|project| project.0);
        let known = sqlx::query_scalar!(
            r#"update builder set state = 'active', variant_name = ?5
             where branch_id = ?1 and platform_id = ?2 and project_id is ?3 and variant = ?4 returning id as "id!""#,
            branch.0,
            platform.0,
            project,
            variant,
            variant_name
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let id = match known {
            Some(id) => id,
            None => {
                sqlx::query_scalar!(
                    r#"insert into builder (kind, branch_id, platform_id, project_id, variant, variant_name, state, since_ms)
                     values (?1, ?2, ?3, ?4, ?5, ?6, 'active', iif(exists (select 1 from change c
                         join branch br on br.trunk_id = c.trunk_id where br.id = ?2), null, 0))
                     returning id as "id!""#,
                    kind,
                    branch.0,
                    platform.0,
                    project,
                    variant,
                    variant_name
                )
                .fetch_one(&mut *self.connection)
                .await?
            }
        };
        Ok(BuilderId(id))
    }
}
