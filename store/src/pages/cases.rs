//! One case's history on one builder, and what cases printed about one change.

use domain::breakage::failure_group::CaseFailure;
use domain::breakage::mark::Mark;
use domain::schedule::canary::Canary;
use domain::words::ids::{BuildId, BuilderId, CaseId, Timestamp};
use protocol::Verdict;

use super::changes::change_row;
use super::{BuilderRow, ChangeRow};
use crate::cases::verdicts::verdict;
use crate::db::transaction::Read;
use crate::error::{Error, Result};

/// A case of a builder, as its page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CasePage {
    /// Its id.
    pub id: i64,
    /// Its builder.
    pub builder: BuilderRow,
    /// The id of its branch.
    pub branch: i64,
    /// What it does in the newest history build; if that build does not report it, what it did last.
    pub now: Option<Verdict>,
    /// Where it changed its verdict, newest first.
    pub turns: Vec<CaseTransitionRow>,
    /// The history builds, newest first, and what the case did in each, as far as that is known.
    pub case_history: Vec<(HistoryRow, Option<Verdict>)>,
    /// The ids of the breakages that it belongs to, newest first, at most 100.
    pub breakages: Vec<i64>,
    /// Whether its last breakage ended as flaky.
    pub is_flaky: bool,
    /// The marks that speak of it, including those that have expired.
    pub marks: Vec<Mark>,
    /// What its project must do as a canary.
    pub canary: Option<Canary>,
}

/// A history build in which the case did something else than in the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseTransitionRow {
    /// The build.
    pub history_build: HistoryRow,
    /// What it did before; none if that is not known.
    pub was: Option<Verdict>,
    /// What it does from this build on.
    pub became: Verdict,
    /// What it printed, cut at 4,000 characters.
    pub text: Option<String>,
}

/// A history build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// The build.
    pub build: i64,
    /// The position on the branch.
    pub position: i64,
    /// Its change.
    pub change: ChangeRow,
    /// When it ended: a mark that had expired by then does not apply to it.
    pub ended_at: Timestamp,
}

impl Read<'_> {
    /// A case of a builder by its name, with at most `max_turns` transitions and `max_places` history builds.
    pub async fn case_page(
        &mut self,
        builder: i64,
        name: &str,
        max_turns: i64,
        max_places: i64,
    ) -> Result<CasePage> {
        let id = self.case_named(name).await?.ok_or(Error::NotFound("case"))?.0;
        let row = sqlx::query!(
            r#"select br.branch_id as "branch_id!", p.name as "project?", t.name as "trunk!", b.name as "branch!",
                 pl.label as "platform!", br.variant_name as "variant?"
             from builder br join branch b on b.id = br.branch_id join trunk t on t.id = b.trunk_id
                 join platform pl on pl.id = br.platform_id left join project p on p.id = br.project_id
             where br.id = ?"#,
            builder
        )
        .fetch_optional(&mut *self.connection)
        .await?
        .ok_or(Error::NotFound("builder"))?;
        let turns = self.case_turns(builder, row.branch_id, id, max_turns).await?;
        let places = self.newest_history_builds(builder, row.branch_id, max_places).await?;
        let newest = match places.first() {
            Some(newest) => self.case_verdicts(BuildId(newest.build)).await?.get(&CaseId(id)).copied(),
            None => None,
        };
        if turns.is_empty() && newest.is_none() {
            return Err(Error::NotFound("case on this builder"));
        }
        let now = newest.or_else(|| turns.first().map(|turn| turn.became));
        let breakages = sqlx::query_scalar!(
            r#"select k.id as "id!" from breakage_case kc join breakage k on k.id = kc.breakage_id
             where kc.case_id = ? and k.builder_id = ? order by k.id desc limit 100"#,
            id,
            builder
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let is_flaky = self.known_flaky(builder).await?.contains(&CaseId(id));
        let mut marks = self.marks_of(BuilderId(builder)).await?;
        marks.retain(|mark| mark.speaks_of(name));
        let canary = self.canary_of(builder).await?;
        let mut case_history = Vec::with_capacity(places.len());
        for place in places {
            let verdict = verdict_at(&turns, place.position, now);
            case_history.push((place, verdict));
        }
        Ok(CasePage {
            id,
            builder: BuilderRow {
                id: builder,
                project: row.project,
                trunk: row.trunk,
                branch: row.branch,
                platform: row.platform,
                variant: row.variant,
            },
            branch: row.branch_id,
            now,
            turns,
            case_history,
            breakages,
            is_flaky,
            marks,
            canary,
        })
    }

    async fn case_turns(
        &mut self,
        builder: i64,
        branch: i64,
        case: i64,
        limit: i64,
    ) -> Result<Vec<CaseTransitionRow>> {
        let rows = sqlx::query!(
            r#"select t.build_id as "build!", t.was, t.became as "became!", bc.position as "position!",
                 c.id as "change_id!", c.sha as "sha!", c.title as "title!", c.author as "author!",
                 c.committed_at_ms as "committed_at_ms!", substr(x.text, 1, 4000) as "text?: String",
                 b.finished_at_ms as "ended_at_ms!"
             from transition t cross join build b on b.id = t.build_id
                 cross join branch_change bc on bc.branch_id = ? and bc.change_id = b.change_id and bc.gone_at_ms is null
                 cross join change c on c.id = b.change_id
                 left join case_failure o on o.build_id = coalesce(b.same_as_id, b.id) and o.case_id = t.case_id
                 left join failure_message x on x.id = o.failure_message_id
             where t.case_id = ? and b.builder_id = ?
             order by bc.position desc, b.id desc limit ?"#,
            branch,
            case,
            builder,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut turns = Vec::with_capacity(rows.len());
        for row in rows {
            turns.push(CaseTransitionRow {
                was: row.was.as_deref().map(verdict).transpose()?,
                became: verdict(&row.became)?,
                text: row.text.clone().filter(|text| !text.is_empty()),
                history_build: HistoryRow {
                    build: row.build,
                    position: row.position,
                    change: change_row!(row),
                    ended_at: Timestamp(row.ended_at_ms),
                },
            });
        }
        Ok(turns)
    }

    /// The newest history builds of a builder, newest change first.
    async fn newest_history_builds(
        &mut self,
        builder: i64,
        branch: i64,
        limit: i64,
    ) -> Result<Vec<HistoryRow>> {
        let rows = sqlx::query!(
            r#"select b.id as "build!", bc.position as "position!", c.id as "change_id!", c.sha as "sha!",
                 c.title as "title!", c.author as "author!", c.committed_at_ms as "committed_at_ms!",
                 b.finished_at_ms as "ended_at_ms!"
             from branch_change bc cross join build b on b.builder_id = ? and b.change_id = bc.change_id
                 cross join change c on c.id = bc.change_id
             where bc.branch_id = ? and bc.gone_at_ms is null and b.is_verdict
                 and b.makes_history
             order by bc.position desc, b.id desc limit ?"#,
            builder,
            branch,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut places = Vec::with_capacity(rows.len());
        for row in rows {
            places.push(HistoryRow {
                build: row.build,
                position: row.position,
                change: change_row!(row),
                ended_at: Timestamp(row.ended_at_ms),
            });
        }
        Ok(places)
    }

    /// What cases printed about the change that a breakage points to.
    pub async fn failures_of_breakage(&mut self, breakage: i64, limit: i64) -> Result<Vec<CaseFailure>> {
        let change = sqlx::query_scalar!(
            r#"select coalesce(culprit_id, bad_change_id) as "change!: i64" from breakage where id = ?"#,
            breakage
        )
        .fetch_one(&mut *self.connection)
        .await?;
        self.failures_of_change(change, limit).await
    }

    /// What cases printed where a change broke them: in the breakages whose culprit it is or, if no culprit is
    /// known, whose bad end it is. If no run failed at the culprit, what they printed at the bad end.
    pub async fn failures_of_change(&mut self, change: i64, limit: i64) -> Result<Vec<CaseFailure>> {
        let rows = sqlx::query!(
            r#"select coalesce(p.name, 'toolchain') as "project!: String", n.name as "name!: String",
                 substr(x.text, 1, 8000) as "text!: String"
             from breakage k join builder br on br.id = k.builder_id left join project p on p.id = br.project_id
                 cross join breakage_case kc on kc.breakage_id = k.id join named_case n on n.id = kc.case_id
                 join build b on b.id = coalesce(
                     (select q.id from build q where q.builder_id = k.builder_id and q.change_id = k.culprit_id
                         and q.is_verdict and q.outcome = 'failed' and q.reason <> 'latest' order by q.id limit 1),
                     (select q.id from build q where q.builder_id = k.builder_id and q.change_id = k.bad_change_id
                         and q.makes_history order by q.id limit 1))
                 join case_failure o on o.build_id = coalesce(b.same_as_id, b.id) and o.case_id = kc.case_id
                 join failure_message x on x.id = o.failure_message_id
             where k.state <> 'gone' and (k.culprit_id = ? or (k.culprit_id is null and k.bad_change_id = ?))
             order by k.id, n.name limit ?"#,
            change,
            change,
            limit
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let failures =
            rows.into_iter().map(|row| CaseFailure { project: row.project, case: row.name, text: row.text });
        Ok(failures.collect())
    }
}

/// What a case did at a position: what the last transition up to there says; before the first transition, what
/// that one has as the verdict before; without transitions, what the case has always done.
fn verdict_at(turns: &[CaseTransitionRow], position: i64, now: Option<Verdict>) -> Option<Verdict> {
    match turns.iter().find(|turn| turn.history_build.position <= position) {
        Some(turn) => Some(turn.became),
        None => turns.last().map_or(now, |first| first.was),
    }
}
