//! What backlogs have reported to the contacts of projects, until a mail says what became of it.

use domain::words::ids::{BreakageId, ChangeId, NoticeId};

use crate::db::transaction::{Read, Write};
use crate::error::Result;

/// What a backlog has reported of one breakage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogClaim {
    /// The backlog.
    pub notice: NoticeId,
    /// The breakage.
    pub breakage: BreakageId,
    /// The change that was named last.
    pub culprit: ChangeId,
}

/// A mail that others reply to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRoot {
    /// Its thread.
    pub change: ChangeId,
    /// Its `Message-ID`, with the brackets.
    pub message_id: String,
    /// Who got it.
    pub recipients: Vec<String>,
}

impl Read<'_> {
    /// What was reported and is not followed up yet, by backlog.
    pub async fn backlog_claims(&mut self) -> Result<Vec<BacklogClaim>> {
        let rows = sqlx::query!(
            r#"select notice_id, breakage_id as "breakage_id!", culprit_id from backlog_claim order by notice_id, breakage_id"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let rows = rows.into_iter().map(|row| BacklogClaim {
            notice: NoticeId(row.notice_id),
            breakage: BreakageId(row.breakage_id),
            culprit: ChangeId(row.culprit_id),
        });
        Ok(rows.collect())
    }

    /// Whether something became of what was reported: a breakage is gone or has another answer, or all that a backlog reported
    /// is over.
    pub async fn has_backlog_news(&mut self) -> Result<bool> {
        let news = sqlx::query_scalar!(
            r#"select 1 as "news!: i64" from backlog_claim c cross join breakage b on b.id = c.breakage_id
             group by c.notice_id
             having sum(b.ended_at_ms is null) = 0
                 or max(b.state = 'gone' or (b.found is not null
                     and (b.found not in ('named', 'one-of-k') or b.culprit_id is not c.culprit_id)))
             limit 1"#
        );
        Ok(news.fetch_optional(&mut *self.connection).await?.is_some())
    }

    /// The mail that others reply to.
    pub async fn notice_root(&mut self, notice: NoticeId) -> Result<NoticeRoot> {
        let row = sqlx::query!("select change_id, message_id, recipients from notice where id = ?", notice.0)
            .fetch_one(&mut *self.connection)
            .await?;
        Ok(NoticeRoot {
            change: ChangeId(row.change_id),
            message_id: row.message_id,
            recipients: row.recipients.lines().map(str::to_string).collect(),
        })
    }
}

impl Write<'_> {
    /// Records what a backlog reports of a breakage, in place of what was reported of it before.
    pub async fn put_backlog_claim(&mut self, claim: &BacklogClaim) -> Result<()> {
        sqlx::query!(
            "insert into backlog_claim (breakage_id, notice_id, culprit_id) values (?, ?, ?)
             on conflict (breakage_id) do update set notice_id = excluded.notice_id, culprit_id = excluded.culprit_id",
            claim.breakage.0,
            claim.notice.0,
            claim.culprit.0
        )
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// Records that nothing is left to be followed up of a breakage.
    pub async fn end_backlog_claim(&mut self, breakage: BreakageId) -> Result<()> {
        sqlx::query!("delete from backlog_claim where breakage_id = ?", breakage.0)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// Records that mails may report a breakage again: another change than the old one was found, or none.
    pub async fn mark_mailable(&mut self, breakage: BreakageId) -> Result<()> {
        sqlx::query!("update breakage set unmailed = null where id = ?", breakage.0)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }
}
