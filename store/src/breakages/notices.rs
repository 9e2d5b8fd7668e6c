//! The outbox: mails that wait, and those that were sent.

use std::collections::BTreeMap;

use domain::words::ids::{BreakageId, ChangeId, NoticeId, ProjectId, Timestamp};
use domain::words::states::{NoticeKind, NoticeState};

use crate::db::journal::Topic;
use crate::db::number::from_row;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, one_row, word};

/// A mail that was decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotice {
    /// What it is about.
    pub kind: NoticeKind,
    /// The thread.
    pub change: ChangeId,
    /// The addresses, without repetition.
    pub recipients: Vec<String>,
    /// The subject.
    pub subject: String,
    /// The text.
    pub body: String,
    /// Its `Message-ID`, with the brackets.
    pub message_id: String,
    /// The `Message-ID` of the thread's first mail; none for that one.
    pub in_reply_to: Option<String>,
    /// The breakages that it reports.
    pub breakages: Vec<BreakageId>,
    /// Old breakages that it mentions in a line.
    pub mentions: Vec<BreakageId>,
}

/// A mail that waits in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its id.
    pub id: NoticeId,
    /// The addresses, without repetition.
    pub recipients: Vec<String>,
    /// The subject.
    pub subject: String,
    /// The text.
    pub body: String,
    /// Its `Message-ID`, with the brackets.
    pub message_id: String,
    /// The `Message-ID` of the thread's first mail; none for that one.
    pub in_reply_to: Option<String>,
    /// When it was written into the outbox.
    pub decided_at: Timestamp,
    /// How often it was handed to a server without success.
    pub tries: u32,
}

/// What the mails about one culprit have reported so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thread {
    /// The first message's id.
    pub root: Option<String>,
    /// Breakages that were reported and not corrected since.
    pub announced: Vec<BreakageId>,
    /// Breakages that were reported as repaired, which was not taken back since.
    pub announced_fixes: Vec<BreakageId>,
    /// Old breakages that one of its mails mentioned in a line.
    pub mentioned: Vec<BreakageId>,
    /// Whether a report of a repair was ever taken back.
    pub has_fallen_repair: bool,
    /// Everyone who got one of its mails.
    pub recipients: Vec<String>,
}

impl Read<'_> {
    /// Notices that are due, those that have waited longest first, so that an index has them in order. A reply waits
    /// for the message that it replies to.
    pub async fn waiting_notices(&mut self, now: Timestamp, limit: i64) -> Result<Vec<Notice>> {
        let rows = sqlx::query!(
            "select id, recipients, subject, body, message_id, in_reply_to, decided_at_ms, tries from notice
             where state = 'waiting' and next_try_at_ms <= ?
                 and not exists (select 1 from notice earlier where earlier.change_id = notice.change_id
                     and earlier.id < notice.id and earlier.state = 'waiting')
             order by next_try_at_ms, id limit ?",
            now.0,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut notices = Vec::with_capacity(rows.len());
        for row in rows {
            notices.push(Notice {
                id: NoticeId(row.id),
                recipients: row.recipients.lines().map(str::to_string).collect(),
                subject: row.subject,
                body: row.body,
                message_id: row.message_id,
                in_reply_to: row.in_reply_to,
                decided_at: Timestamp(row.decided_at_ms),
                tries: from_row(row.tries)?,
            });
        }
        Ok(notices)
    }

    /// When the next notice is due that waits for no earlier mail.
    pub async fn next_notice(&mut self) -> Result<Option<Timestamp>> {
        let next = sqlx::query_scalar!(
            r#"select min(next_try_at_ms) as "next: i64" from notice
               where state = 'waiting'
                   and not exists (select 1 from notice earlier where earlier.change_id = notice.change_id
                       and earlier.id < notice.id and earlier.state = 'waiting')"#
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(next.map(Timestamp))
    }

    /// The mails about one culprit so far.
    pub async fn thread(&mut self, change: ChangeId) -> Result<Thread> {
        let rows = sqlx::query!(
            "select n.kind, n.message_id, n.recipients, nb.breakage_id
             from notice n join notice_breakage nb on nb.notice_id = n.id
             where n.change_id = ? and n.kind not in ('backlog', 'backlog-fixed', 'backlog-correction') order by n.id",
            change.0
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut thread = Thread::default();
        let mut last: BTreeMap<BreakageId, NoticeKind> = BTreeMap::new();
        for row in rows {
            thread.root.get_or_insert(row.message_id);
            for recipient in row.recipients.lines() {
                if !thread.recipients.iter().any(|known| known == recipient) {
                    thread.recipients.push(recipient.to_string());
                }
            }
            let breakage = BreakageId(row.breakage_id);
            let kind = word(&row.kind, NoticeKind::parse)?;
            let before = last.insert(breakage, kind);
            match kind {
                NoticeKind::Fixed => thread.announced_fixes.push(breakage),
                // It takes back the repair, not the culprit.
                NoticeKind::Correction if before == Some(NoticeKind::Fixed) => {
                    thread.announced_fixes.retain(|announced| *announced != breakage);
                    thread.has_fallen_repair = true;
                }
                // If the search finds the same culprit again later, that is news again.
                NoticeKind::Correction => thread.announced.retain(|announced| *announced != breakage),
                // They are no mails of the thread.
                NoticeKind::Backlog | NoticeKind::BacklogFixed | NoticeKind::BacklogCorrection => {}
                NoticeKind::ProjectInputs | NoticeKind::Named | NoticeKind::Spread | NoticeKind::Storm => {
                    thread.announced.push(breakage);
                }
                // They report no breakage.
                NoticeKind::FirstResult | NoticeKind::NewFailure => {}
            }
        }
        let mentioned = sqlx::query_scalar!(
            "select m.breakage_id from breakage b cross join notice_mention m on m.breakage_id = b.id
                 cross join notice n on n.id = m.notice_id and n.change_id = b.culprit_id
             where b.culprit_id = ?",
            change.0
        );
        thread.mentioned =
            mentioned.fetch_all(&mut *self.connection).await?.into_iter().map(BreakageId).collect();
        Ok(thread)
    }
}

impl Read<'_> {
    /// How many notices about culprits an address got since then, and whether one about a storm was among them.
    pub async fn notices_to(&mut self, recipient: &str, since: Timestamp) -> Result<(u32, bool)> {
        let row = sqlx::query!(
            r#"select coalesce(sum(kind not in ('storm', 'first-result', 'new-failure')), 0) as "notices!: i64", coalesce(max(kind = 'storm'), 0) as "storm!: bool"
             from notice
             where decided_at_ms > ? and instr(char(10) || recipients || char(10), char(10) || ? || char(10)) > 0"#,
            since.0,
            recipient
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok((from_row(row.notices)?, row.storm))
    }

    /// When the contacts of a project last got a mail about what old changes broke.
    pub async fn last_backlog_mail(&mut self, project: ProjectId) -> Result<Option<Timestamp>> {
        let last = sqlx::query_scalar!(
            r#"select max(n.decided_at_ms) as "at: i64" from builder br cross join breakage b on b.builder_id = br.id
                 cross join notice_breakage nb on nb.breakage_id = b.id
                 cross join notice n on n.id = nb.notice_id and n.kind = 'backlog'
             where br.project_id = ?"#,
            project.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(last.map(Timestamp))
    }

    /// Breakages that a mail blames on a change although the farm no longer does.
    pub async fn wrong_notices(&mut self) -> Result<Vec<(ChangeId, BreakageId)>> {
        let rows = sqlx::query!(
            r#"select n.change_id as "change!", b.id as "breakage!" from breakage b
                 join notice_breakage nb on nb.breakage_id = b.id join notice n on n.id = nb.notice_id
             where n.kind in ('named', 'spread') and b.state <> 'gone' and b.found is not null
                 and (b.found not in ('named', 'one-of-k') or b.culprit_id is not n.change_id)
                 and not exists (select 1 from notice_breakage lb join notice later on later.id = lb.notice_id
                     where lb.breakage_id = b.id and later.change_id = n.change_id and later.id > n.id
                         and later.kind = 'correction'
                         -- A correction of a repair does not take back the culprit.
                         and (select before.kind from notice_breakage pb join notice before on before.id = pb.notice_id
                             where pb.breakage_id = b.id and before.change_id = n.change_id and before.id < later.id
                             order by before.id desc limit 1) is not 'fixed')
             order by n.change_id, b.id"#
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(rows.into_iter().map(|row| (ChangeId(row.change), BreakageId(row.breakage))).collect())
    }
}

impl Write<'_> {
    /// Puts a mail into the outbox; it is due at once.
    pub async fn put_notice(&mut self, notice: &NewNotice, now: Timestamp) -> Result<NoticeId> {
        let kind = notice.kind.as_str();
        let recipients = notice.recipients.join("\n");
        let id = sqlx::query_scalar!(
            "insert into notice (kind, change_id, recipients, subject, body, message_id, in_reply_to, state,
                 decided_at_ms, next_try_at_ms)
             values (?, ?, ?, ?, ?, ?, ?, 'waiting', ?, ?) returning id as \"id!\"",
            kind,
            notice.change.0,
            recipients,
            notice.subject,
            notice.body,
            notice.message_id,
            notice.in_reply_to,
            now.0,
            now.0
        )
        .fetch_one(&mut *self.connection)
        .await?;
        for breakage in &notice.breakages {
            sqlx::query!(
                "insert into notice_breakage (notice_id, breakage_id) values (?, ?)",
                id,
                breakage.0
            )
            .execute(&mut *self.connection)
            .await?;
        }
        for breakage in &notice.mentions {
            sqlx::query!("insert into notice_mention (notice_id, breakage_id) values (?, ?)", id, breakage.0)
                .execute(&mut *self.connection)
                .await?;
        }
        self.journal(Topic::Notice, id, now);
        Ok(NoticeId(id))
    }

    /// Records that a server accepted a mail. `Conflict` if it is not waiting.
    pub async fn mark_notice_sent(&mut self, notice: NoticeId, now: Timestamp) -> Result<()> {
        let sent = sqlx::query!(
            "update notice set state = 'sent', sent_at_ms = ?, tries = tries + 1, failure = null
             where id = ? and state = 'waiting'",
            now.0,
            notice.0
        );
        one_row(sent.execute(&mut *self.connection).await?, "the notice is not waiting")?;
        self.journal(Topic::Notice, notice.0, now);
        Ok(())
    }

    /// Records that a mail could not be delivered. `again` is when to try next; none if the server refused it for
    /// good. `Conflict` if it is not waiting.
    pub async fn mark_notice_failed(
        &mut self,
        notice: NoticeId,
        failure: &str,
        again: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()> {
        let state = if again.is_some() { NoticeState::Waiting } else { NoticeState::Failed }.as_str();
        let next = again.unwrap_or(now).0;
        let failed = sqlx::query!(
            "update notice set state = ?, next_try_at_ms = ?, tries = tries + 1, failure = ?
             where id = ? and state = 'waiting'",
            state,
            next,
            failure,
            notice.0
        );
        one_row(failed.execute(&mut *self.connection).await?, "the notice is not waiting")?;
        self.journal(Topic::Notice, notice.0, now);
        Ok(())
    }
}
