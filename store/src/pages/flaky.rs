//! Builds that fail as is known of them: their bad cases are all flaky or marked, or they are of a canary that must fail. Few builders have such cases, and only their failed builds are
//! examined.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use domain::breakage::mark::{FailedCase, FailureNews, Mark, failure_news};
use domain::outcome::{Cause, Outcome};
use domain::schedule::canary::Canary;
use domain::words::BuilderKind;
use domain::words::ids::{BuildId, BuilderId, CaseId, Timestamp};

use super::BuildRow;
use crate::db::number::len_to_row;
use crate::db::transaction::Read;
use crate::error::{Result, word};

/// A build with more bad cases than its builder has flaky ones fails for another reason. Cases of its steps may be
/// added to them.
const MAX_STEP_CASES: i64 = 64;

impl Read<'_> {
    /// Sets [`BuildRow::news`] of the suite builds among these.
    pub async fn judge_failures(&mut self, builds: &mut [BuildRow]) -> Result<()> {
        let mut known: HashMap<i64, KnownFailures> = HashMap::new();
        // Builds with equal inputs share their verdicts.
        let mut judged: HashMap<i64, FailureNews> = HashMap::new();
        for build in builds.iter_mut() {
            if build.kind == BuilderKind::Toolchain || build.outcome != Some(Outcome::Failed) {
                continue;
            }
            let known = match known.entry(build.builder) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(KnownFailures {
                    flaky: self.known_flaky(build.builder).await?,
                    marks: self.marks_of(BuilderId(build.builder)).await?,
                    canary: self.canary_of(build.builder).await?,
                }),
            };
            let most = len_to_row(known.flaky.len()) + MAX_STEP_CASES;
            // A mark may match any number of cases.
            if known.canary.is_none()
                && known.marks.is_empty()
                && (known.flaky.is_empty() || build.bads.is_some_and(|bads| bads > most))
            {
                continue;
            }
            let own = build.same_as.unwrap_or(build.id);
            build.news = match judged.get(&own) {
                Some(&news) => news,
                None => {
                    let news = self.failure_news(own, known).await?;
                    judged.insert(own, news);
                    news
                }
            };
        }
        Ok(())
    }

    /// What the canary of a builder's project must do.
    pub(super) async fn canary_of(&mut self, builder: i64) -> Result<Option<Canary>> {
        let canary = sqlx::query_scalar!(
            r#"select p.canary as "canary?: String" from builder r join project p on p.id = r.project_id where r.id = ?"#,
            builder
        )
        .fetch_optional(&mut *self.connection)
        .await?;
        canary.flatten().map(|canary| word(&canary, Canary::parse)).transpose()
    }

    /// The cases of a builder that are flaky according to their last breakage.
    pub(super) async fn known_flaky(&mut self, builder: i64) -> Result<BTreeSet<CaseId>> {
        let ids = sqlx::query_scalar!(
            "select x.case_id from breakage k join breakage_case x on x.breakage_id = k.id
             where k.builder_id = ?1 and k.found = 'flaky' and not exists (
                 select 1 from breakage later join breakage_case y on y.breakage_id = later.id
                 where later.builder_id = ?1 and y.case_id = x.case_id and later.id > k.id
                     and later.found is not 'flaky')",
            builder
        )
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(CaseId).collect())
    }

    async fn failure_news(&mut self, build: i64, known: &KnownFailures) -> Result<FailureNews> {
        let row = sqlx::query!("select cause, finished_at_ms from build where id = ?", build)
            .fetch_one(&mut *self.connection)
            .await?;
        let cause = row.cause.as_deref().map(|cause| word(cause, Cause::parse)).transpose()?;
        // A mark that had expired when the build ended does not apply to it.
        let ended = Timestamp(row.finished_at_ms.unwrap_or(i64::MAX));
        let in_force: Vec<&Mark> = known.marks.iter().filter(|mark| !mark.is_void(ended)).collect();
        let mut bad = Vec::new();
        for (case, _) in self.case_verdicts(BuildId(build)).await?.into_iter().filter(|(_, v)| v.is_bad()) {
            let name = sqlx::query_scalar!(r#"select name as "name!" from named_case where id = ?"#, case.0)
                .fetch_one(&mut *self.connection)
                .await?;
            let mark = in_force.iter().find(|mark| mark.speaks_of(&name)).map(|mark| mark.kind);
            bad.push(FailedCase { is_flaky: known.flaky.contains(&case), mark, name });
        }
        Ok(failure_news(&bad, cause, known.canary))
    }
}

/// What is known of the failures of a builder.
struct KnownFailures {
    flaky: BTreeSet<CaseId>,
    marks: Vec<Mark>,
    canary: Option<Canary>,
}
