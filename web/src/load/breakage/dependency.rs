//! Breakages of other projects that have to do with this one: the dependency that it is filed under, and siblings.

use domain::breakage::dependency::{self, DependencyContext, NeededProject};
use store::pages::{BreakageFilter, BreakageRow};
use store::{Read, Result};

use super::super::rows::{breakage_style, builder, has_culprit};
use crate::format::log_text::without_escapes;
use crate::pages::breakage::{FiledLine, SiblingLine};

const MAX_OPEN: i64 = 500;
/// The breakages of one needed project whose searches are compared with this one.
const MAX_COMPARED: usize = 20;

/// The dependency that a breakage is filed under.
pub async fn filed_under(
    read: &mut Read<'_>,
    row: &BreakageRow,
    siblings: &[BreakageRow],
    message: Option<&str>,
) -> Result<Option<FiledLine>> {
    let Some(own) = &row.builder.project else { return Ok(None) };
    let open = read.breakage_rows(BreakageFilter::Open, MAX_OPEN).await?;
    let needs = read.needs_of_builder(row.builder.id).await?;
    let is_of = |other: &BreakageRow, name: &str| {
        other.builder.project.as_deref() == Some(name) && is_beside(other, row)
    };
    let own_suspects = read.suspects(row.id).await?;
    let mut needed: Vec<NeededProject> = Vec::with_capacity(needs.len());
    for name in needs {
        let mut may_be_it = false;
        let undecided = |other: &&BreakageRow| is_of(other, &name) && other.state.is_undecided();
        for other in open.iter().filter(undecided).take(MAX_COMPARED) {
            may_be_it |= dependency::suspect_the_same(&own_suspects, &read.suspects(other.id).await?);
        }
        needed.push(NeededProject {
            has_same_culprit: siblings.iter().any(|other| is_of(other, &name)),
            may_be_it: may_be_it && !has_culprit(row),
            name,
        });
    }
    let text = message.map(without_escapes);
    let registered: Vec<String> = read.projects().await?.into_iter().map(|project| project.name).collect();
    let context = DependencyContext { own, needed: &needed, registered: &registered };
    let Some(filed) = dependency::filed_under(text.as_deref(), &context) else { return Ok(None) };
    let project = filed.project().map(str::to_string);
    Ok(Some(FiledLine {
        text: filed.sentence(),
        breakage: project.as_ref().and_then(|project| {
            siblings.iter().chain(&open).find(|other| is_of(other, project)).map(|other| other.id)
        }),
        project,
    }))
}

/// The siblings on the same branch and platform whose projects need this breakage's project.
pub async fn dependents(
    read: &mut Read<'_>,
    row: &BreakageRow,
    siblings: &[BreakageRow],
) -> Result<Vec<SiblingLine>> {
    let Some(project) = &row.builder.project else { return Ok(vec![]) };
    let names = read.dependents(project).await?;
    let needs_it = |other: &&BreakageRow| {
        is_beside(other, row) && other.builder.project.as_ref().is_some_and(|name| names.contains(name))
    };
    Ok(siblings.iter().filter(needs_it).cloned().map(sibling).collect())
}

pub fn sibling(row: BreakageRow) -> SiblingLine {
    SiblingLine { id: row.id, status_style: breakage_style(&row), builder: builder(row.builder) }
}

/// Whether two breakages are of one branch, platform and variant.
fn is_beside(other: &BreakageRow, row: &BreakageRow) -> bool {
    (other.branch, other.builder.target()) == (row.branch, row.builder.target())
}
