//! What is read from one report.

use super::case_run::CaseRun;

/// The cases of one report, and how far they can be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// In the report's order.
    pub cases: Vec<CaseRun>,
    /// One clear sentence each; at most [`super::MAX_WARNINGS`].
    pub warnings: Vec<String>,
    /// Whether the report holds all that it was meant to hold. If not, a case that it does not name is unreached, and
    /// not missing.
    pub complete: bool,
    /// The promises that the report breaks, one sentence each, at most [`super::MAX_WARNINGS`]: a plan that was not kept,
    /// a closing line that is missing, a word that is not known. Such a report is not whole: its step has failed, whatever
    /// its exit code. A report that is not complete without one was ended on purpose, or leaves out names.
    pub broken: Vec<String>,
    /// Whether only the exit of its step shows that the report is complete: a TAP stream may have no plan.
    pub unplanned: bool,
    /// What the cases were read from.
    pub source: ReportSource,
    /// How many cases ran, with or without a name; a suite whose every case was skipped ran none. It is unknown, and
    /// counts only failures, if the source is [`ReportSource::Lines`].
    pub ran: u64,
}

/// What the cases of a [`Reading`] were read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportSource {
    /// The report or the log of a test runner.
    Runner,
    /// Lines of a log that look like failures. They are not believed if the step exits with 0.
    Lines,
    /// Lines of a log. One of them is a test runner's statement that it ran no case.
    Nothing,
}
