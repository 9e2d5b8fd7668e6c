//! Reads what Julia's Test prints. Only a whole test set at the top is always in its table, so that is a case; what fails
//! within it has a message of its own, and is a fault.

use protocol::Verdict;

use super::line_reader::LineFlow;
use super::normalizer::normalize;
use super::tally::{Runner, Tally};

pub fn is_sign(line: &str) -> bool {
    line.starts_with(HEADING) && line.contains('|')
}

const HEADING: &str = "Test Summary:";

#[derive(Default)]
pub struct Julia {
    /// The columns of the table that is being read.
    columns: Option<Vec<Column>>,
    /// The test set whose failing expression is in the next line.
    next: Option<String>,
    /// The faults since the last table.
    faults: u64,
    /// Whether `Pkg.test` runs the tests, which says when they have ended.
    is_package: bool,
    rows: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pass,
    Fail,
    Error,
    Broken,
    Total,
}

struct Column {
    kind: Kind,
    /// Numbers stand right-aligned below their heading.
    end: usize,
}

impl Runner for Julia {
    const UNENDED: &str = "Julia's test summary is missing; the run may have ended too early.";
    const IS_SURE: bool = true;

    fn on(&mut self, line: &str, tally: &mut Tally) -> LineFlow {
        if line.trim() == "Testing Running tests..." {
            self.is_package = true;
        } else if line.trim_start().starts_with("Testing ") && line.trim_end().ends_with(" tests passed")
            || line.starts_with("ERROR: Package ") && line.contains(" errored during testing")
            || line.contains("Some tests did not pass: ")
        {
            self.is_package = false;
        }
        if is_sign(line) {
            self.columns = Some(columns(line));
            tally.end_text();
            return LineFlow::Continue;
        }
        if let Some(found) = self.columns.take() {
            if line.contains('|') {
                let then = self.row(line, &found, tally);
                self.columns = Some(found);
                return then;
            }
            tally.end_text();
        }
        if let Some(set) = self.next.take() {
            let expression = line.trim().strip_prefix("Expression: ").map(normalize);
            let name = expression.map_or(set.clone(), |expression| format!("{set}: {expression}"));
            let then = self.fault(&name, tally);
            tally.text(line.trim());
            return then;
        }
        let begins = [": Test Failed at ", ": Error During Test at "];
        match begins.iter().find_map(|how| line.split_once(how)) {
            Some((set, _)) => {
                tally.end_text();
                self.next = Some(set.trim().to_string());
            }
            None => tally.text(line),
        }
        LineFlow::Continue
    }

    fn ended(&mut self, tally: &mut Tally) {
        if self.rows == 0 {
            return;
        }
        if self.is_package {
            tally.report.lacks("`Pkg.test` did not report the end of the tests.".into());
        }
        // A set that another one holds, and that has no row of its own, is counted there.
        tally.close(tally.named());
    }
}

impl Julia {
    fn fault(&mut self, name: &str, tally: &mut Tally) -> LineFlow {
        self.faults += 1;
        tally.fault(name)
    }

    /// `Words         |    3     1      1       1      6  0.5s`
    fn row(&mut self, line: &str, columns: &[Column], tally: &mut Tally) -> LineFlow {
        let Some((name, counts)) = line.split_once('|') else { return LineFlow::Continue };
        // The rows below it are parts of its counts.
        if name.starts_with(' ') || name.trim().is_empty() {
            return LineFlow::Continue;
        }
        let behind = line.chars().count() - counts.chars().count();
        let of = |kind: Kind| {
            let end = columns.iter().find(|column| column.kind == kind)?.end;
            number_ending_at(counts, end.checked_sub(behind)?)
        };
        let [pass, fail, error, broken] =
            [Kind::Pass, Kind::Fail, Kind::Error, Kind::Broken].map(|kind| of(kind).unwrap_or(0));
        let sum = [pass, fail, error, broken].into_iter().fold(0, u64::saturating_add);
        let name = name.trim();
        if of(Kind::Total).is_none_or(|total| total != sum) {
            let quoted = super::report_builder::quote(name);
            tally.report.lacks(format!("The counts of test set {quoted} do not add up to its total."));
        }
        let verdict = match (pass, fail, error, broken) {
            (_, _, 1.., _) => Verdict::Error,
            (_, 1.., 0, _) => Verdict::Fail,
            (0, 0, 0, 1..) => Verdict::Xfail,
            (0, 0, 0, 0) => Verdict::Skip,
            (_, 0, 0, _) => Verdict::Pass,
        };
        self.rows += 1;
        let then = tally.case(name, verdict, None);
        tally.end_text();
        then
    }
}

fn columns(line: &str) -> Vec<Column> {
    const HEADINGS: [(&str, Kind); 5] = [
        ("Pass", Kind::Pass),
        ("Fail", Kind::Fail),
        ("Error", Kind::Error),
        ("Broken", Kind::Broken),
        ("Total", Kind::Total),
    ];
    let found = |(word, kind): (&str, Kind)| {
        let at = line.find(&format!(" {word}"))?;
        Some(Column { kind, end: line[..at].chars().count() + 1 + word.len() })
    };
    HEADINGS.into_iter().filter_map(found).collect()
}

/// The number whose last digit is before this character.
fn number_ending_at(text: &str, end: usize) -> Option<u64> {
    let start: String = text.chars().take(end).collect();
    if text.chars().nth(end).is_some_and(|c| c.is_ascii_digit()) {
        return None;
    }
    let digits = start.len() - start.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    start[start.len() - digits..].parse().ok()
}
