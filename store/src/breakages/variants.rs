//! What is known of the cases of breakages in the other variants of their trunks.

use std::collections::BTreeMap;

use domain::sentences::VariantState;

use crate::db::transaction::Read;
use crate::error::{Result, json};

/// How many changes after the bad one a build of another variant may be. What is built later shows nothing of this range.
const MAX_CHANGES_ON: i64 = 100;

/// What is known of a breakage's cases in one variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakageVariant {
    /// The breakage's project; empty where it is the toolchain's.
    pub project: String,
    /// What the variant is called.
    pub variant: String,
    /// What is known.
    pub state: VariantState,
}

impl Read<'_> {
    /// What is known of the cases of these breakages in the variants of their trunks, by breakage; nothing where a trunk has
    /// the default build only. In another variant they are good if a history build of the same project, branch and
    /// platform shows it, at the bad change or soon after, and no breakage there may have the same culprit.
    pub async fn breakage_variants(
        &mut self,
        breakages: &[i64],
    ) -> Result<BTreeMap<i64, Vec<BreakageVariant>>> {
        let wanted = json(breakages)?;
        let rows = sqlx::query!(
            r#"with known as materialized (
                 select k.id, k.builder_id, k.culprit_id, br.branch_id, br.platform_id, br.project_id,
                     (select max(position) from branch_change x where x.branch_id = br.branch_id
                         and x.change_id = k.good_change_id) as good,
                     (select max(position) from branch_change x where x.branch_id = br.branch_id
                         and x.change_id = k.bad_change_id) as bad,
                     (select max(position) from branch_change x where x.branch_id = br.branch_id
                         and x.change_id = k.fixed_after_id) as still_bad
                 from json_each(?1) wanted cross join breakage k on k.id = wanted.value
                     cross join builder br on br.id = k.builder_id and br.variant_name is not null
             ), other as materialized (
                 select n.*, o.id as other_id, o.variant_name, o.id = n.builder_id as is_own,
                     (select coalesce(b.same_as_id, b.id) from branch_change at
                         cross join builder_history b on b.builder_id = o.id and b.change_id = at.change_id
                         where at.branch_id = n.branch_id and at.position >= n.bad
                             and at.position <= n.bad + ?2 and at.position <= coalesce(n.still_bad, n.bad + ?2)
                             and at.gone_at_ms is null
                         order by at.position limit 1) as shown_by
                 from known n cross join builder o on o.branch_id = n.branch_id and o.platform_id = n.platform_id
                     and o.project_id is n.project_id and (o.state = 'active' or o.id = n.builder_id)
                 where o.variant_name is not null
             )
             select o.id as "breakage!: i64", coalesce(p.name, '') as "project!: String",
                 o.variant_name as "variant!: String", o.is_own as "is_own!: bool",
                 o.shown_by is not null
                     and not exists (select 1 from breakage_case x
                         cross join case_failure f on f.build_id = o.shown_by and f.case_id = x.case_id
                         where x.breakage_id = o.id)
                     and not exists (select 1 from breakage d
                         where d.builder_id = o.other_id and d.ended_at_ms is null
                             and (d.found is null or d.found = 'inconclusive')
                             and o.bad > (select max(position) from branch_change x
                                 where x.branch_id = o.branch_id and x.change_id = d.good_change_id)
                             and o.good < (select max(position) from branch_change x
                                 where x.branch_id = o.branch_id and x.change_id = d.bad_change_id))
                     and not exists (select 1 from breakage d
                         where d.culprit_id = o.culprit_id and d.builder_id = o.other_id and d.state <> 'gone')
                     as "is_good!: bool"
             from other o left join project p on p.id = o.project_id order by 1, 3"#,
            wanted,
            MAX_CHANGES_ON
        )
        .fetch_all(&mut *self.connection)
        .await?;
        let mut variants: BTreeMap<i64, Vec<BreakageVariant>> = BTreeMap::new();
        for row in rows {
            let state = state(row.is_own, row.is_good);
            let known = BreakageVariant { project: row.project, variant: row.variant, state };
            variants.entry(row.breakage).or_default().push(known);
        }
        Ok(variants)
    }
}

fn state(is_own: bool, is_good: bool) -> VariantState {
    match (is_own, is_good) {
        (true, _) => VariantState::Bad,
        (false, true) => VariantState::Good,
        (false, false) => VariantState::Unknown,
    }
}
