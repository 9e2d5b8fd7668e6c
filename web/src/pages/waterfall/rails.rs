//! The rails of the waterfall: what a cell shows of a breakage that passes through it.

use serde::Serialize;

/// A breakage in a window of the waterfall. Rows are counted from 0 at the newest change.
#[derive(Debug, Clone)]
pub struct BreakageRail {
    pub column: usize,
    pub breakage: i64,
    /// The culprit's number; none while the search goes on.
    pub culprit: Option<usize>,
    /// The row of the culprit, or of the oldest suspect; none if it lies below the window.
    pub from: Option<usize>,
    /// The row of the oldest build that is known to fail: suspects end there.
    pub bad: Option<usize>,
    /// The row of the fix; none while the breakage is open, or if the fix lies above the window.
    pub fixed: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rail {
    pub breakage: i64,
    pub culprit: Option<usize>,
    pub part: RailPart,
    pub lane: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RailPart {
    /// The culprit's own row, where the rail begins.
    Start,
    Through,
    /// One of the suspects.
    Suspect,
    /// The change that fixed it.
    Fixed,
    /// The newest row of a breakage that is still open.
    Open,
}

impl RailPart {
    pub fn as_str(self) -> &'static str {
        match self {
            RailPart::Start => "start",
            RailPart::Through => "through",
            RailPart::Suspect => "suspect",
            RailPart::Fixed => "fixed",
            RailPart::Open => "open",
        }
    }
}

impl Rail {
    pub fn hue(&self) -> String {
        hue(self.culprit)
    }
}

/// Which of the sheet's six hues belongs to a culprit's number; suspects have none.
pub fn hue(number: Option<usize>) -> String {
    number.map_or("none".into(), |number| ((number + 5) % 6).to_string())
}
