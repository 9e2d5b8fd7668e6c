//! How right the farm was of late: how searches ended, and which answers fell.

use domain::self_check::CheckKind;
use domain::words::BreakageState;
use domain::words::ids::Timestamp;

use super::BuilderRow;
use crate::db::number::from_row;
use crate::db::transaction::Read;
use crate::error::{Result, word};

/// A repetition that contradicted an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallenRow {
    /// The breakage whose answer it was.
    pub breakage: i64,
    /// Its state now.
    pub state: BreakageState,
    /// Which part of the answer.
    pub kind: CheckKind,
    /// The build that repeated it.
    pub build: i64,
    /// Its builder.
    pub builder: BuilderRow,
    /// When it ended.
    pub ended_at: Timestamp,
}

impl Read<'_> {
    /// How many answers that were found since then stand, by what was found.
    pub async fn searches_ended_since(&mut self, since: Timestamp) -> Result<Vec<(BreakageState, u64)>> {
        let rows = sqlx::query!(
            r#"select found as "found!", count(*) as "count!: i64" from breakage indexed by breakage_found
             where found_at_ms >= ? group by found order by found"#,
            since.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        rows.into_iter()
            .map(|row| Ok((word(&row.found, BreakageState::parse)?, from_row(row.count)?)))
            .collect()
    }

    /// The last repetitions since then that contradicted an answer, newest first.
    pub async fn fallen_rows(&mut self, since: Timestamp, limit: i64) -> Result<Vec<FallenRow>> {
        let rows = sqlx::query!(
            r#"select s.breakage_id, k.state, s.kind, s.build_id, s.ended_at_ms as "ended_at!", br.id as "builder!",
                 p.name as "project?", t.name as "trunk!", b.name as "branch!", pl.label as "platform!", br.variant_name as "variant?"
             from self_check s indexed by self_check_ended join breakage k on k.id = s.breakage_id
                 join builder br on br.id = k.builder_id left join project p on p.id = br.project_id
                 join branch b on b.id = br.branch_id join trunk t on t.id = b.trunk_id
                 join platform pl on pl.id = br.platform_id
             where s.ended_at_ms >= ? and s.result = 'fell' order by s.ended_at_ms desc limit ?"#,
            since.0,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(FallenRow {
                    breakage: row.breakage_id,
                    state: word(&row.state, BreakageState::parse)?,
                    kind: word(&row.kind, CheckKind::parse)?,
                    build: row.build_id,
                    builder: BuilderRow {
                        id: row.builder,
                        project: row.project,
                        trunk: row.trunk,
                        branch: row.branch,
                        platform: row.platform,
                        variant: row.variant,
                    },
                    ended_at: Timestamp(row.ended_at),
                })
            })
            .collect()
    }
}
