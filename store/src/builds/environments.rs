//! Whether a worker's environment was another than when it last ran the same builder.

use domain::words::ids::BuildId;

use crate::db::transaction::Read;
use crate::error::Result;

/// What a worker's recipes saw in two runs: lists of `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentChange {
    /// Its last run before.
    pub since: BuildId,
    /// The environment in that run.
    pub before: Vec<String>,
    /// The environment in this run.
    pub now: Vec<String>,
}

impl Read<'_> {
    /// None where nothing changed, or where the worker had not run the builder before.
    pub async fn environment_change(&mut self, build: BuildId) -> Result<Option<EnvironmentChange>> {
        let row = sqlx::query!(
            r#"select p.id as "since!", then_.properties as before, now_.properties as now
             from build b join attempt a on a.id = b.attempt_id join build p on p.builder_id = b.builder_id and p.id < b.id
                 join attempt pa on pa.id = p.attempt_id and pa.worker_id = a.worker_id
                 join environment now_ on now_.sha256 = a.environment_sha256
                 join environment then_ on then_.sha256 = pa.environment_sha256
             where b.id = ? order by p.id desc limit 1"#,
            build.0
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        let properties = |text: String| text.lines().map(str::to_string).collect();
        Ok(row.filter(|row| row.before != row.now).map(|row| EnvironmentChange {
            since: BuildId(row.since),
            before: properties(row.before),
            now: properties(row.now),
        }))
    }
}
