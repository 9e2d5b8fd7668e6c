//! What LuaUnit prints: with `-v` each case by name; without it dots, and only failures have names.

use std::collections::HashMap;
use std::io::{self, BufRead};

use protocol::Verdict;

use super::ReportBuilder;
use super::lines::{self, LineFlow};

pub fn is_sign(line: &str) -> bool {
    line.starts_with("Started on ") || total(line).is_some()
}

pub fn read(input: impl BufRead, draft: &mut ReportBuilder) -> io::Result<()> {
    let mut run =
        Run { draft, open: None, places: HashMap::new(), ran: 0, telling: None, list: None, ended: false };
    let ended = lines::each(input, |line| run.on(line));
    run.ended();
    ended.told_to(draft)
}

struct Run<'d> {
    draft: &'d mut ReportBuilder,
    /// The case that has begun and has no verdict yet.
    open: Option<String>,
    places: HashMap<String, usize>,
    /// How many were named that ran.
    ran: u64,
    /// The case of which the lines speak.
    telling: Option<usize>,
    /// In a list at the end: of failures or of errors.
    list: Option<Verdict>,
    ended: bool,
}

impl Run<'_> {
    fn on(&mut self, line: &str) -> LineFlow {
        if let Some((ran, is_last)) = total(line).map(|ran| (ran, true)) {
            self.ended = is_last;
            self.draft.ran_unnamed(ran.saturating_sub(self.ran));
            (self.telling, self.list, self.ran) = (None, None, 0);
            self.places.clear();
            return LineFlow::Continue;
        }
        match line.trim_end() {
            "Tests with errors:" => self.list = Some(Verdict::Error),
            "Failed tests:" => self.list = Some(Verdict::Fail),
            line => match self.list {
                Some(verdict) => return self.listed(line, verdict),
                None => return self.told(line),
            },
        }
        self.telling = None;
        LineFlow::Continue
    }

    /// `    TestPrices.test_adds ... Ok`, and what a case prints stands before its verdict.
    fn told(&mut self, line: &str) -> LineFlow {
        if let Some((name, said)) = begin(line) {
            self.open = Some(name.to_string());
            self.telling = None;
            return self.verdict(said);
        }
        if self.open.is_some() {
            return self.verdict(line);
        }
        if line.starts_with("=====") {
            self.telling = None;
        } else if let Some(index) = self.telling {
            self.draft.add_text(index, line);
        }
        LineFlow::Continue
    }

    fn verdict(&mut self, said: &str) -> LineFlow {
        let verdict = match said.trim() {
            "Ok" => Verdict::Pass,
            "FAIL" => Verdict::Fail,
            "ERROR" => Verdict::Error,
            "SKIP" => Verdict::Skip,
            _ => return LineFlow::Continue,
        };
        let Some(name) = self.open.take() else { return LineFlow::Continue };
        self.push(&name, verdict)
    }

    fn push(&mut self, name: &str, verdict: Verdict) -> LineFlow {
        self.ran += u64::from(verdict != Verdict::Skip);
        self.telling = self.draft.push(name, verdict, None);
        let Some(index) = self.telling else { return LineFlow::Stop };
        self.places.insert(name.to_string(), index);
        LineFlow::Continue
    }

    /// `1) TestPrices.test_errs`, then why. A case that was told of before has said so already.
    fn listed(&mut self, line: &str, verdict: Verdict) -> LineFlow {
        let title = line.split_once(") ").filter(|(number, _)| number.bytes().all(|b| b.is_ascii_digit()));
        match title {
            Some((_, name)) if self.places.contains_key(name) => self.telling = None,
            Some((_, name)) => return self.push(name, verdict),
            None if line.starts_with("-----") => {}
            None => {
                if let Some(index) = self.telling {
                    self.draft.add_text(index, line);
                }
            }
        }
        LineFlow::Continue
    }

    fn ended(&mut self) {
        if !self.ended {
            self.draft.lacks("LuaUnit's last line is missing; it may have ended too early.".into());
        }
        self.draft.ends_within(self.open.take());
    }
}

fn begin(line: &str) -> Option<(&str, &str)> {
    let (name, said) = line.strip_prefix("    ")?.split_once(" ...")?;
    (!name.is_empty() && !name.contains(char::is_whitespace)).then_some((name, said))
}

/// `Ran 7 tests in 0.001 seconds, 3 successes, 2 failures`: how many ran.
fn total(line: &str) -> Option<u64> {
    let (count, rest) = line.strip_prefix("Ran ")?.split_once(" tests in ")?;
    if rest.contains(" seconds, ") { count.parse().ok() } else { None }
}
