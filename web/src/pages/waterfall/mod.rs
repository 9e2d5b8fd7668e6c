//! `/waterfall`: changes down, builders across. A sentence says what matters before the table shows it.

pub mod layout;
pub mod rails;

use std::cmp::Ordering;

use askama::Template;
use domain::variant::target;
use serde::Serialize;

use rails::{Rail, RailPart, hue};

use super::{ChangeLine, Frame, MarkLine, Page};
use crate::format::status_style::StatusStyle;
use crate::format::units::Span;

/// One branch, and a window of its changes.
#[derive(Debug, Clone, Serialize)]
pub struct WaterfallView {
    pub trunk: String,
    pub branch: String,
    pub sentence: String,
    /// The other branches of the farm, for the line of links.
    pub branches: Vec<BranchLink>,
    pub culprits: Vec<Culprit>,
    pub columns: Vec<BuilderColumn>,
    /// How many more builders there are than the table has room for.
    pub more_builders: i64,
    /// Newest first.
    pub rows: Vec<Row>,
    /// Positions for the links to older and newer rows.
    pub older: Option<i64>,
    pub newer: Option<i64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct BranchLink {
    pub trunk: String,
    pub branch: String,
    pub is_shown: bool,
}

/// A change that broke something in this window, with the number that it has in the table.
#[derive(Debug, Clone, Serialize)]
pub struct Culprit {
    pub number: usize,
    pub change: ChangeLine,
    /// `broke 14 tests of sandbox, tables`
    pub effect: String,
    /// `still broken`, or what fixed it.
    pub now: String,
    pub is_open: bool,
    /// The marks in force that speak for cases that it broke.
    pub marks: Vec<MarkLine>,
}

#[derive(Debug, Clone, Serialize)]
pub struct BuilderColumn {
    pub builder: i64,
    /// The project, or `toolchain`.
    pub name: String,
    pub platform: String,
    /// Its variant, where its trunk has others than the default build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The state of its newest finished build.
    pub status_style: StatusStyle,
    /// Whether a new group (the toolchains, or a project) starts here.
    pub first_of_group: bool,
    /// How many rails run side by side in it.
    pub lanes: usize,
}

#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The day, where it differs from that of the row above.
    pub day: Option<String>,
    pub position: i64,
    pub change: ChangeLine,
    /// What changed in the toolchain inputs here: `linux-x86_64: the trunk's recipe changed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub toolchain_inputs: Vec<String>,
    /// The culprit's number, if this change is one.
    pub culprit: Option<usize>,
    /// The last column of the culprit's beam, counted from 0.
    #[serde(skip)]
    pub reach: Option<usize>,
    pub cells: Vec<WaterfallCell>,
}

#[derive(Debug, Clone, Serialize)]
pub struct WaterfallCell {
    #[serde(flatten)]
    pub content: CellContent,
    /// Probes, null runs and forced builds: evidence, not history.
    pub evidence: Vec<super::BuildMark>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rails: Vec<Rail>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum CellContent {
    /// A build that makes history.
    Build(BuildCell),
    /// A build with equal inputs, whose results are this one's.
    Same { build: i64, status_style: StatusStyle, change: String },
    /// Not built because the newer change above it was.
    Superseded { bracket: SupersededSpan },
    /// Not built, and not superseded: older than the builder's first build, or not enqueued yet.
    Nothing,
}

#[derive(Debug, Clone, Serialize)]
pub struct BuildCell {
    pub build: i64,
    pub status_style: StatusStyle,
    /// The number after the glyph: cases that passed, or cases that fail.
    pub count: Option<i64>,
    /// The words after the number: `new`, `fixed`, `compile`.
    pub label: String,
    pub duration_ms: Option<Span>,
    pub steps: Vec<StepBlock>,
}

#[derive(Debug, Clone, Serialize)]
pub struct StepBlock {
    pub name: String,
    pub state: StepState,
    pub duration_ms: Option<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    Ok,
    Bad,
    Now,
    Later,
}

/// The position of a superseded cell among its superseded neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SupersededSpan {
    First,
    Within,
    Last,
    Only,
}

#[derive(Template)]
#[template(path = "waterfall.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a WaterfallView,
}

impl Page for WaterfallView {
    const HERE: &'static str = "/waterfall";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}

impl StepState {
    /// The class in `farm.css`.
    pub fn as_str(self) -> &'static str {
        match self {
            StepState::Ok => "ok",
            StepState::Bad => "bad",
            StepState::Now => "now",
            StepState::Later => "later",
        }
    }
}

impl StepBlock {
    /// One of four widths, so that a pointer can hit a short step beside a long one.
    pub fn width(&self) -> &'static str {
        match self.duration_ms.map_or(0, |duration| duration.0) {
            ..1_000 => "w1",
            1_000..10_000 => "w2",
            10_000..100_000 => "w3",
            _ => "w4",
        }
    }

    pub fn hint(&self) -> String {
        match (self.state, self.duration_ms) {
            (StepState::Later, _) => format!("{}: not run", self.name),
            (StepState::Now, _) => format!("{}: running", self.name),
            (StepState::Ok, Some(duration)) => format!("{}: ok, {duration}", self.name),
            (StepState::Bad, Some(duration)) => format!("{}: failed, {duration}", self.name),
            (StepState::Ok, None) => format!("{}: ok", self.name),
            (StepState::Bad, None) => format!("{}: failed", self.name),
        }
    }
}

impl SupersededSpan {
    pub fn as_str(self) -> &'static str {
        match self {
            SupersededSpan::First => "first",
            SupersededSpan::Within => "within",
            SupersededSpan::Last => "last",
            SupersededSpan::Only => "only",
        }
    }
}

impl Row {
    /// The classes of this row's beam in a column; it ends at the rail that rises from it.
    pub fn beam(&self, column: &usize) -> Option<String> {
        let (reach, hue) = (self.reach?, self.hue());
        match column.cmp(&reach) {
            Ordering::Less => Some(format!("beam hue-{hue}")),
            Ordering::Equal => Some(format!("beam end lane-{} hue-{hue}", self.lane_in(*column))),
            Ordering::Greater => None,
        }
    }

    pub fn hue(&self) -> String {
        hue(self.culprit)
    }

    /// The lane of this column in which the culprit's rail begins.
    fn lane_in(&self, column: usize) -> usize {
        self.cells[column].rails.iter().find(|rail| rail.part == RailPart::Start).map_or(0, |rail| rail.lane)
    }
}

impl Culprit {
    pub fn hue(&self) -> String {
        hue(Some(self.number))
    }
}

impl WaterfallView {
    /// The platform, if all columns have the same: the page then shows it once.
    fn only_platform(&self) -> Option<&str> {
        let first = &self.columns.first()?.platform;
        self.columns.iter().all(|column| column.platform == *first).then_some(first)
    }

    /// What stands above a column, in addition to what the page shows once.
    fn heading(&self, column: &BuilderColumn) -> Option<String> {
        match self.only_platform() {
            Some(_) => column.variant.clone(),
            None => Some(target(&column.platform, column.variant.as_deref())),
        }
    }

    /// The status styles that this page shows, in the legend's order.
    fn legend(&self) -> Vec<StatusStyle> {
        let cells = || self.rows.iter().flat_map(|row| &row.cells);
        let shown = |status_style| {
            cells().any(|cell| match &cell.content {
                CellContent::Build(build) => build.status_style == status_style,
                CellContent::Same { status_style: own, .. } => *own == status_style,
                CellContent::Superseded { .. } => status_style == StatusStyle::Superseded,
                CellContent::Nothing => false,
            }) || cells().any(|cell| cell.evidence.iter().any(|build| build.status_style == status_style))
        };
        StatusStyle::ALL.into_iter().filter(|status_style| shown(*status_style)).collect()
    }
}
