//! Loads the waterfall: a window of changes, all builders of the branch, and the breakages there.

use std::collections::HashMap;

use domain::words::BreakageState;
use serde::Deserialize;
use store::pages::{BranchRow, BreakageFilter, BreakageRow, BuildRow, ColumnRow, PositionRow, StepRow};
use store::{Result, Store};

use super::culprits::{culprits, sentence};
use super::marks::breakage_marks;
use super::rows::{builder, cell_label, change, has_culprit, mark, status_style};
use super::tested::tested;
use super::toolchain_inputs::switches;
use crate::format::status_style::StatusStyle;
use crate::format::units::{Span, row_count};
use crate::pages::SwitchLine;
use crate::pages::waterfall::layout::lay_rails;
use crate::pages::waterfall::rails::BreakageRail;
use crate::pages::waterfall::{
    BranchLink, BuildCell, BuilderColumn, CellContent, Row, StepBlock, StepState, SupersededSpan,
    WaterfallCell, WaterfallView,
};

/// How many changes a page shows.
const WINDOW: i64 = 60;
const MAX_BREAKAGES: i64 = 500;

/// The window that a reader wants; by default the first branch and its newest changes.
#[derive(Debug, Default, Deserialize)]
pub struct WaterfallQuery {
    trunk: Option<String>,
    branch: Option<String>,
    upto: Option<i64>,
}

pub async fn waterfall(store: &Store, which: &WaterfallQuery) -> Result<WaterfallView> {
    let mut snapshot = store.snapshot().await?;
    let mut read = snapshot.read();
    let branches = read.branch_rows().await?;
    let Some(branch) = chosen(&branches, which)? else { return Ok(empty()) };
    let upto = which.upto.unwrap_or(i64::MAX);
    let mut positions = read.position_rows(branch.id, upto, WINDOW + 1).await?;
    let older =
        (row_count(positions.len()) > WINDOW).then(|| positions.pop()).flatten().map(|row| row.position);
    let newest = positions.first().map_or(0, |row| row.position);
    let oldest = positions.last().map_or(0, |row| row.position);
    let columns = read.column_rows(branch.id, oldest).await?;
    let all = read.branch_reach(branch.id, 0).await?.builders;
    let more_builders = all - row_count(columns.len());
    let mut builds = read.cell_rows(branch.id, oldest, newest).await?;
    read.judge_failures(&mut builds).await?;
    let steps = read.step_rows(branch.id, oldest, newest).await?;
    let filter = BreakageFilter::Branch { branch: branch.id, oldest };
    let mut breakages = read.breakage_rows(filter, MAX_BREAKAGES).await?;
    breakages.retain(|row| row.culprit_at.or(row.bad).is_some_and(|at| at <= newest));
    let tested = tested(&mut read, std::slice::from_ref(branch)).await?;
    let marks = breakage_marks(&mut read, &breakages).await?;
    let culprits = culprits(&mut read, &breakages, &marks).await?;
    let numbers: HashMap<String, usize> =
        culprits.iter().map(|culprit| (culprit.change.sha.clone(), culprit.number)).collect();

    let switches = switches(&mut read, branch.id).await?;
    let mut rows = table(&positions, &columns, builds, steps);
    for row in &mut rows {
        row.culprit = numbers.get(&row.change.sha).copied();
        let here = switches.iter().filter(|switch| switch.change.sha == row.change.sha);
        row.toolchain_inputs = here.map(SwitchLine::sentence).collect();
    }
    let ranges: Vec<BreakageRail> =
        breakages.iter().filter_map(|row| rail(row, &columns, &positions, &numbers)).collect();
    let lanes = lay_rails(&mut rows, columns.len(), &ranges);
    Ok(WaterfallView {
        trunk: branch.trunk.clone(),
        branch: branch.branch.clone(),
        sentence: sentence(&format!("{} {}", branch.trunk, branch.branch), &breakages, &tested),
        branches: branches
            .iter()
            .map(|other| BranchLink {
                trunk: other.trunk.clone(),
                branch: other.branch.clone(),
                is_shown: other.id == branch.id,
            })
            .collect(),
        culprits,
        more_builders,
        columns: headers(columns, &rows, lanes),
        newer: which.upto.is_some().then_some(newest + WINDOW).filter(|_| branch.tip > Some(newest)),
        older,
        rows,
    })
}

fn chosen<'b>(branches: &'b [BranchRow], which: &WaterfallQuery) -> Result<Option<&'b BranchRow>> {
    let wanted = |row: &&BranchRow| {
        which.trunk.as_ref().is_none_or(|trunk| *trunk == row.trunk)
            && which.branch.as_ref().is_none_or(|branch| *branch == row.branch)
    };
    match branches.iter().find(wanted) {
        None if !branches.is_empty() => Err(store::Error::NotFound("branch")),
        found => Ok(found),
    }
}

fn empty() -> WaterfallView {
    WaterfallView {
        trunk: String::new(),
        branch: String::new(),
        sentence: "No trunk is registered yet.".into(),
        branches: vec![],
        culprits: vec![],
        columns: vec![],
        more_builders: 0,
        rows: vec![],
        older: None,
        newer: None,
    }
}

fn table(
    positions: &[PositionRow],
    columns: &[ColumnRow],
    builds: Vec<BuildRow>,
    steps: Vec<StepRow>,
) -> Vec<Row> {
    let mut blocks: HashMap<i64, Vec<StepBlock>> = HashMap::new();
    for step in steps {
        blocks.entry(step.build).or_default().push(block(step));
    }
    let mut by_cell: HashMap<(i64, i64), Vec<BuildRow>> = HashMap::new();
    for build in builds {
        by_cell.entry((build.builder, build.change)).or_default().push(build);
    }
    let mut day = String::new();
    let mut rows: Vec<Row> = positions
        .iter()
        .map(|at| {
            let cells = columns.iter().map(|column| {
                let key = (column.builder.id, at.change.id);
                let builds = by_cell.remove(&key).unwrap_or_default();
                cell(builds, &mut blocks)
            });
            let cells = cells.collect();
            let line = change(at.change.clone());
            let own = line.committed_at.day();
            let differs = own != day;
            day.clone_from(&own);
            Row {
                day: differs.then_some(own),
                position: at.position,
                change: line,
                toolchain_inputs: vec![],
                culprit: None,
                reach: None,
                cells,
            }
        })
        .collect();
    for (n, column) in columns.iter().enumerate() {
        mark_superseded(&mut rows, n, column.goes_on);
    }
    rows
}

fn cell(builds: Vec<BuildRow>, blocks: &mut HashMap<i64, Vec<StepBlock>>) -> WaterfallCell {
    let (history, evidence): (Vec<_>, Vec<_>) = builds.into_iter().partition(|build| build.is_history);
    let content = match history.into_iter().next_back() {
        None => CellContent::Nothing,
        Some(build @ BuildRow { same_as: Some(same), .. }) => CellContent::Same {
            build: same,
            status_style: status_style(&build),
            change: build.same_sha.unwrap_or_default().chars().take(7).collect(),
        },
        Some(build) => {
            let steps = blocks.remove(&build.id).unwrap_or_default();
            let status_style = status_style(&build);
            let (count, label) = cell_label(&build);
            let running =
                steps.iter().find(|step| step.state == StepState::Now).map(|step| step.name.clone());
            CellContent::Build(BuildCell {
                build: build.id,
                status_style,
                count,
                label: match (status_style, running) {
                    (StatusStyle::Running, Some(step)) => step,
                    _ => label,
                },
                duration_ms: build.took_ms.map(Span),
                steps,
            })
        }
    };
    WaterfallCell { content, evidence: evidence.iter().map(mark).collect(), rails: vec![] }
}

fn block(step: StepRow) -> StepBlock {
    let state = match step.end {
        None => StepState::Now,
        Some(protocol::StepEnd::Exit { code: 0 }) => StepState::Ok,
        Some(_) => StepState::Bad,
    };
    StepBlock { name: step.name, state, duration_ms: step.duration_ms.map(Span) }
}

/// A cell without a build is superseded if its column has a build above it and one below.
fn mark_superseded(rows: &mut [Row], column: usize, goes_on: bool) {
    let is_empty = |row: &Row| matches!(row.cells[column].content, CellContent::Nothing);
    let Some(first) = rows.iter().position(|row| !is_empty(row)) else { return };
    let last = match goes_on {
        true => rows.len() - 1,
        false => rows.iter().rposition(|row| !is_empty(row)).unwrap_or(first),
    };
    let empty: Vec<bool> = rows.iter().map(is_empty).collect();
    for at in (first..=last).filter(|at| empty[*at]) {
        let above = at > first && empty[at - 1];
        let below = at < last && empty[at + 1];
        let bracket = match (above, below) {
            (false, false) => SupersededSpan::Only,
            (false, true) => SupersededSpan::First,
            (true, true) => SupersededSpan::Within,
            (true, false) => SupersededSpan::Last,
        };
        rows[at].cells[column].content = CellContent::Superseded { bracket };
    }
}

fn rail(
    row: &BreakageRow,
    columns: &[ColumnRow],
    positions: &[PositionRow],
    numbers: &HashMap<String, usize>,
) -> Option<BreakageRail> {
    if matches!(row.state, BreakageState::Flaky | BreakageState::Environment | BreakageState::Gone) {
        return None;
    }
    let at = |position: Option<i64>| positions.iter().position(|row| Some(row.position) == position);
    let culprit = has_culprit(row)
        .then(|| row.culprit.as_ref().and_then(|culprit| numbers.get(&culprit.sha).copied()))
        .flatten();
    let oldest_suspect = || positions.iter().rposition(|at| at.position > row.good.unwrap_or(i64::MIN));
    let reaches_below = positions.last().is_some_and(|last| row.good.is_none_or(|good| good < last.position));
    Some(BreakageRail {
        column: columns.iter().position(|column| column.builder.id == row.builder.id)?,
        breakage: row.id,
        culprit,
        from: match culprit {
            Some(_) => at(row.culprit_at),
            None if reaches_below => None,
            None => oldest_suspect(),
        },
        bad: at(row.bad),
        fixed: at(row.fixed_at),
    })
}

fn headers(columns: Vec<ColumnRow>, rows: &[Row], lanes: Vec<usize>) -> Vec<BuilderColumn> {
    let mut group = None;
    let mut headers = Vec::with_capacity(columns.len());
    for (n, (column, lanes)) in columns.into_iter().zip(lanes).enumerate() {
        let first_of_group = group.as_ref() != Some(&column.builder.project);
        group = Some(column.builder.project.clone());
        let line = builder(column.builder);
        let standing = rows.iter().find_map(|row| match &row.cells[n].content {
            CellContent::Build(build)
                if !matches!(
                    build.status_style,
                    StatusStyle::Queued | StatusStyle::Running | StatusStyle::Blocked
                ) =>
            {
                Some(build.status_style)
            }
            CellContent::Same { status_style, .. } => Some(*status_style),
            CellContent::Build(_) | CellContent::Superseded { .. } | CellContent::Nothing => None,
        });
        headers.push(BuilderColumn {
            builder: line.id,
            name: line.name,
            platform: line.platform,
            variant: line.variant,
            status_style: standing.unwrap_or(StatusStyle::Queued),
            first_of_group,
            lanes,
        });
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::units::Moment;
    use crate::pages::ChangeLine;

    /// A column as a picture, newest first: `+` a build, `.` none. Superseded cells come back as brackets.
    fn superseded(picture: &str, goes_on: bool) -> String {
        let row = |letter| {
            let content = match letter {
                '+' => {
                    CellContent::Same { build: 1, status_style: StatusStyle::Passed, change: String::new() }
                }
                _ => CellContent::Nothing,
            };
            let change = ChangeLine {
                sha: String::new(),
                title: String::new(),
                author: String::new(),
                committed_at: Moment(0),
            };
            let cells = vec![WaterfallCell { content, evidence: vec![], rails: vec![] }];
            Row {
                day: None,
                position: 0,
                change,
                toolchain_inputs: vec![],
                culprit: None,
                reach: None,
                cells,
            }
        };
        let mut rows: Vec<Row> = picture.chars().map(row).collect();
        mark_superseded(&mut rows, 0, goes_on);
        let letter = |row: &Row| match row.cells[0].content {
            CellContent::Build(_) | CellContent::Same { .. } => '+',
            CellContent::Nothing => '.',
            CellContent::Superseded { bracket: SupersededSpan::First } => '/',
            CellContent::Superseded { bracket: SupersededSpan::Within } => '|',
            CellContent::Superseded { bracket: SupersededSpan::Last } => '\\',
            CellContent::Superseded { bracket: SupersededSpan::Only } => '[',
        };
        rows.iter().map(letter).collect()
    }

    #[test]
    fn cells_above_the_newest_build_are_not_superseded() {
        assert_eq!(superseded("..+.+", false), "..+[+");
        assert_eq!(superseded("+...+", false), "+/|\\+");
        assert_eq!(superseded("....", true), "....");
    }

    #[test]
    fn cells_below_a_builders_first_build_are_superseded_only_if_its_history_goes_on() {
        assert_eq!(superseded("+.+..", false), "+[+..");
        assert_eq!(superseded("+.+..", true), "+[+/\\");
    }
}
