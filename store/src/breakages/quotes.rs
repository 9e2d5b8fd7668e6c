//! The failure message that is quoted of a breakage.

use domain::sentences::{QuotableRun, quote_order};
use domain::words::ids::{BuildId, ChangeId};

use super::Breakage;
use crate::db::transaction::Read;
use crate::error::Result;

/// How many runs of a range are considered.
const MAX_RUNS: i64 = 500;
/// In how many of them a message is looked for. A run that failed mostly has one.
const MAX_LOOKED_AT: usize = 20;

/// A failure message, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotedMessage {
    /// What one of the cases printed.
    pub text: String,
    /// In this build.
    pub build: BuildId,
    /// At this change.
    pub change: ChangeId,
}

impl Read<'_> {
    /// What one of a breakage's cases printed: in a run at its culprit or, if none failed there, at the earliest bad
    /// change behind it.
    pub async fn quoted_message(&mut self, breakage: &Breakage) -> Result<Option<QuotedMessage>> {
        let rows = sqlx::query!(
            r#"select coalesce(b.same_as_id, b.id) as "build!: i64", b.change_id as "change!: i64",
                 at.position as "position!: i64"
             from builder br
                 cross join branch_change at on at.branch_id = br.branch_id and at.gone_at_ms is null
                     and at.position > coalesce((select max(position) from branch_change g
                         where g.branch_id = br.branch_id and g.change_id = ?2 and ?2 <> ?3), 0)
                     and at.position <= (select max(position) from branch_change e
                         where e.branch_id = br.branch_id and e.change_id in (?3, ?4))
                 cross join build b on b.builder_id = br.id and b.change_id = at.change_id
             where br.id = ?1 and b.is_verdict and b.reason <> 'latest' and b.outcome = 'failed'
                 and b.pin_id is (select h.pin_id from build h where h.builder_id = ?1 and h.change_id = ?3
                     and h.makes_history and h.is_verdict order by h.id limit 1)
             order by at.position, b.id limit ?5"#,
            breakage.builder.0,
            breakage.good.0,
            breakage.bad.0,
            breakage.culprit.map(|culprit| culprit.0),
            MAX_RUNS
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let runs: Vec<QuotableRun> = rows.iter().map(|row| QuotableRun { position: row.position }).collect();
        let culprit = match breakage.culprit {
            Some(culprit) => self.position_of(breakage, culprit).await?,
            None => None,
        };
        for at in quote_order(&runs, culprit).into_iter().take(MAX_LOOKED_AT) {
            let (build, change) = (BuildId(rows[at].build), ChangeId(rows[at].change));
            if let Some(text) = self.first_failure_message_of(build, &breakage.cases).await? {
                return Ok(Some(QuotedMessage { text, build, change }));
            }
        }
        Ok(None)
    }

    async fn position_of(&mut self, breakage: &Breakage, change: ChangeId) -> Result<Option<i64>> {
        Ok(sqlx::query_scalar!(
            r#"select max(x.position) as "at: i64" from builder br
                 join branch_change x on x.branch_id = br.branch_id and x.change_id = ?
             where br.id = ?"#,
            change.0,
            breakage.builder.0
        )
        .fetch_one(&mut *self.connection)
        .await?)
    }
}
