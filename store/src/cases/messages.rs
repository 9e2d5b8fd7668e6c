//! What cases that did not pass printed. Each text is stored once, whatever builds and cases printed it.

use std::collections::{BTreeMap, BTreeSet};

use domain::results::FailureMessage;
use domain::words::ids::{BuildId, CaseId};
use sha2::{Digest, Sha256};

use crate::db::number::to_row;
use crate::db::transaction::{Read, Write};
use crate::error::{Result, json};

/// How many messages one statement writes.
const AT_ONCE: usize = 1_000;

/// The hash by which a text is found; two texts may share it.
pub(crate) fn hash(text: &str) -> i64 {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    i64::from(i32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]))
}

impl Read<'_> {
    /// What one of these cases printed in a build: a test, or else a fault, or else a step; or else which promises the report
    /// of a step broke, since that tells least.
    pub async fn first_failure_message_of(
        &mut self,
        build: BuildId,
        cases: &BTreeSet<CaseId>,
    ) -> Result<Option<String>> {
        let ids = json(cases)?;
        let text = sqlx::query_scalar!(
            "select x.text from case_failure n join failure_message x on x.id = n.failure_message_id
                 join named_case c on c.id = n.case_id
             where n.build_id = ? and x.text <> ''
                 and n.case_id in (select value from json_each(?))
             order by c.name like 'fault:step:%', c.name like 'step:%', c.name like 'fault:%', n.case_id limit 1",
            build.0,
            ids
        );
        Ok(text.fetch_optional(&mut *self.connection).await?)
    }
}

impl Write<'_> {
    /// Stores what a build's cases printed, in place of what was stored for the build before. `ids` are the cases
    /// of its list.
    pub(crate) async fn put_failure_messages(
        &mut self,
        build: BuildId,
        ids: &[CaseId],
        notes: &[FailureMessage],
    ) -> Result<()> {
        sqlx::query!("delete from case_failure where build_id = ?", build.0)
            .execute(&mut *self.connection)
            .await?;
        for notes in notes.chunks(AT_ONCE) {
            let texts: BTreeMap<&str, i64> =
                notes.iter().map(|note| (note.text.as_str(), hash(&note.text))).collect();
            let texts = json(&texts.into_iter().collect::<Vec<_>>())?;
            sqlx::query!(
                "insert into failure_message (text, hash) select input.value ->> 0, input.value ->> 1 from json_each(?) input
                 where not exists (select 1 from failure_message t
                     where t.hash = input.value ->> 1 and t.text = input.value ->> 0)",
                texts
            )
            .execute(&mut *self.connection)
            .await?;
            let row = |note: &FailureMessage| {
                let duration = note.duration_ms.map(to_row);
                let at = usize::try_from(note.case).ok()?;
                Some((*ids.get(at)?, duration, note.text.clone(), hash(&note.text)))
            };
            let rows = json(&notes.iter().filter_map(row).collect::<Vec<_>>())?;
            sqlx::query!(
                "insert into case_failure (build_id, case_id, duration_ms, failure_message_id)
                 select ?, input.value ->> 0, input.value ->> 1, (select t.id from failure_message t
                     where t.hash = input.value ->> 3 and t.text = input.value ->> 2)
                 from json_each(?) input",
                build.0,
                rows
            )
            .execute(&mut *self.connection)
            .await?;
        }
        Ok(())
    }
}
