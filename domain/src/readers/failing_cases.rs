//! Finds the failing cases in a log whose step declares no report: busted, GoogleTest, minitest, RSpec, hspec, bats, kyua,
//! PHPUnit, ctest, prove, meson, Julia's Test and tcltest print their names. Their own readers find more.

use super::normalizer::normalize;

/// What is known of the lines before.
#[derive(Default)]
pub struct FailingCases {
    next: Next,
    /// Whether the list of failures has begun, in which each has a number.
    in_list: bool,
}

/// What the next line that is not empty holds.
#[derive(Default)]
enum Next {
    #[default]
    Anything,
    Name,
    /// The expression that Julia's test set of this name checks.
    Expression(String),
}

impl FailingCases {
    /// The name of the failing case that this line completes.
    pub fn on(&mut self, line: &str) -> Option<String> {
        let text = line.trim();
        if text.is_empty() {
            return None;
        }
        match std::mem::take(&mut self.next) {
            Next::Anything => {}
            Next::Name => return Some(minitest(text).to_string()),
            Next::Expression(set) => {
                let expression = text.strip_prefix("Expression: ").map(normalize);
                return Some(expression.map_or(set.clone(), |expression| format!("{set}: {expression}")));
            }
        }
        self.next = next(text);
        self.in_list |= text == "Failures:";
        let numbered = self.in_list.then(|| numbered(text)).flatten();
        let name = in_line(line).or_else(|| numbered.filter(|name| !name.ends_with("Failure:")))?;
        Some(name.trim().to_string()).filter(|name| !name.is_empty())
    }
}

fn next(text: &str) -> Next {
    // Busted: `Failure → spec/words_spec.lua @ 3`, and the name below it.
    let busted = ["Failure → ", "Error → ", "Failure -> ", "Error -> "]
        .iter()
        .any(|begin| text.strip_prefix(begin).is_some_and(|place| place.contains(" @ ")));
    let is_minitest = numbered(text).is_some_and(|what| ["Failure:", "Error:"].contains(&what));
    if busted || is_minitest {
        return Next::Name;
    }
    let julia = [": Test Failed at ", ": Error During Test at "].iter().find_map(|how| text.split_once(how));
    julia.map_or(Next::Anything, |(set, _)| Next::Expression(set.to_string()))
}

/// `TestWords#test_splits [test/words.rb:3]:`
fn minitest(text: &str) -> &str {
    match text.split_once(" [") {
        Some((name, _)) if name.contains('#') => name,
        _ if text.contains('#') => text.trim_end_matches(':'),
        _ => text,
    }
}

/// The words after `1) `.
fn numbered(text: &str) -> Option<&str> {
    let (number, rest) = text.split_once(") ")?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(rest)
}

/// The name of a failing case on its own line.
fn in_line(line: &str) -> Option<&str> {
    let text = line.trim();
    // GoogleTest: `[  FAILED  ] Words.Splits (0 ms)`; the last line counts them.
    if let Some(name) = text.strip_prefix("[  FAILED  ] ") {
        let name = name.split([' ', ',']).next()?;
        return name.contains('.').then_some(name);
    }
    // RSpec: `rspec ./spec/words_spec.rb:3 # Words splits`
    if let Some((_, name)) = text.strip_prefix("rspec ").and_then(|rest| rest.split_once(" # ")) {
        return Some(name);
    }
    // bats: ` ✗ splits [12]`
    if let Some(name) = text.strip_prefix("✗ ") {
        return Some(name.rsplit_once(" [").map_or(name, |(name, _)| name));
    }
    // kyua: `words_test:splits  ->  failed: 1 != 2  [0.010s]`
    if let Some((name, how)) = text.split_once("  ->  ") {
        return (how.starts_with("failed") || how.starts_with("broken")).then_some(name);
    }
    // PHPUnit: `1) WordsTest::testSplits`
    if let Some(name) = numbered(text).filter(|name| name.contains("::") && !name.contains(": ")) {
        return Some(name);
    }
    // ctest: `3/5 Test #3: words.splits ........***Failed    0.01 sec`
    if let Some((_, rest)) = text.split_once("Test #")
        && let Some((name, _)) = rest.split_once("***")
    {
        let name = name.split_once(": ")?.1;
        return Some(name.trim_end_matches(['.', ' ']));
    }
    // prove: `t/words.t (Wstat: 256 Tests: 3 Failed: 1)`
    if let Some((name, _)) = text.split_once("(Wstat: ") {
        return Some(name);
    }
    // tcltest: `==== words-1.1 splits FAILED`
    if let Some(rest) = text.strip_prefix("==== ").and_then(|rest| rest.strip_suffix(" FAILED")) {
        return rest.split(' ').next();
    }
    meson(text)
}

/// `3/10 words / splits        FAIL   0.01s   exit status 1`
fn meson(text: &str) -> Option<&str> {
    let (place, rest) = text.split_once(' ')?;
    let (at, of) = place.split_once('/')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (name, behind) = rest.split_once("  ")?;
    let word = behind.split_whitespace().next()?;
    (is_number(at) && is_number(of) && ["FAIL", "ERROR", "TIMEOUT"].contains(&word)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(log: &str) -> Vec<String> {
        let mut cases = FailingCases::default();
        log.lines().filter_map(|line| cases.on(line)).collect()
    }

    #[test]
    fn each_runner_names_its_failing_cases() {
        for (log, expected) in [
            (
                "Failure → spec/a.lua @ 3\nwords splits\nspec/a.lua:4: no\n\nError → spec/a.lua @ 9\nwords joins\n",
                vec!["words splits", "words joins"],
            ),
            (
                "[ RUN      ] Words.Splits\n[  FAILED  ] Words.Splits (0 ms)\n[  FAILED  ] 1 test, listed below:\n",
                vec!["Words.Splits"],
            ),
            (
                "  1) Failure:\nTestWords#test_splits [test/words.rb:3]:\nExpected: 2\n  2) Error:\nTestWords#test_joins:\nNameError\n",
                vec!["TestWords#test_splits", "TestWords#test_joins"],
            ),
            (
                "Failures:\n\n  1) Words splits\n     Failure/Error: no\n\nrspec ./spec/a_spec.rb:3 # Words splits\n",
                vec!["Words splits", "Words splits"],
            ),
            (
                "Failures:\n\n  src/WordsSpec.hs:12:5: \n  1) Words splits\n       expected: 2\n",
                vec!["Words splits"],
            ),
            (" ✓ joins\n ✗ splits [12]\n   (in test file a.bats, line 3)\n", vec!["splits"]),
            (
                "words_test:splits  ->  failed: 1 != 2  [0.010s]\nwords_test:joins  ->  passed  [0.010s]\n",
                vec!["words_test:splits"],
            ),
            (
                "There was 1 failure:\n\n1) App\\WordsTest::testSplits\nFailed asserting that 1 is 2.\n",
                vec!["App\\WordsTest::testSplits"],
            ),
            (
                "3/5 Test #3: words.splits ........***Failed    0.01 sec\n4/5 Test #4: words.joins ........   Passed    0.01 sec\n",
                vec!["words.splits"],
            ),
            (
                "t/words.t .. Failed 1/3 subtests\nt/words.t (Wstat: 256 Tests: 3 Failed: 1)\n",
                vec!["t/words.t"],
            ),
            (
                " 3/10 words / splits        FAIL   0.01s   exit status 1\n 4/10 words / joins         OK     0.01s\n",
                vec!["words / splits"],
            ),
            (
                "Words: Test Failed at /tmp/words.jl:3\n  Expression: split(\"a\") == 2\n   Evaluated: 1 == 2\n",
                vec!["Words: split(\"a\") == #"],
            ),
            (
                "==== words-1.1 splits at blanks FAILED\n==== words-1.1 FAILED\n",
                vec!["words-1.1", "words-1.1"],
            ),
            ("all is well\n2/3 of it  is OK\n", vec![]),
        ] {
            assert_eq!(found(log), expected, "{log}");
        }
    }
}
