//! How often a name came is kept as further cases: `name ×2`, `name ×3`. Each says only that the name was told of so
//! often, so fewer of them are a loss like any other, and a search can look for it.

use std::collections::BTreeMap;

use protocol::Verdict;

use super::{CaseList, FailureMessage, Results};
use crate::readers::{MAX_CASES, MAX_NAME_BYTES, is_fault};

const SIGN: &str = " ×";
/// A name that comes more often is not counted further.
const MAX_COUNTED: u32 = 100;

/// The name of which this one says how often it came.
pub fn repeated(name: &str) -> Option<&str> {
    let (name, times) = name.rsplit_once(SIGN)?;
    (2..=MAX_COUNTED).contains(&times.parse().ok()?).then_some(name)
}

/// Adds what the results say of repeats to their cases, as far as a build may have so many.
///
/// Of a case that was bad it says nothing (unreached): a run may break it off early, or tell of it twice because what
/// comes behind it failed, too.
pub fn count_repeats(list: CaseList, mut results: Results) -> (CaseList, Results) {
    let mut room = MAX_CASES - list.len();
    let mut cases: BTreeMap<String, (Verdict, Option<FailureMessage>)> = BTreeMap::new();
    for (&case, &times) in &results.repeats {
        let (Some(name), Some(verdict)) = (list.get(case as usize), results.verdicts.get(case as usize))
        else {
            continue;
        };
        if is_fault(name) {
            continue;
        }
        let said = if verdict.is_bad() { Verdict::Unreached } else { Verdict::Pass };
        for time in 2..=times.min(MAX_COUNTED) {
            let counted = format!("{name}{SIGN}{time}");
            if room > 0 && counted.len() <= MAX_NAME_BYTES && list.index_of(&counted).is_none() {
                cases.insert(counted, (said, None));
                room -= 1;
            }
        }
    }
    if cases.is_empty() {
        return (list, results);
    }
    let mut notes = std::mem::take(&mut results.notes).into_iter().peekable();
    for ((case, name), verdict) in (0..).zip(list.names()).zip(results.verdicts.iter()) {
        cases.insert(name.to_string(), (verdict, notes.next_if(|note| note.case == case)));
    }
    let list = CaseList::from_sorted(cases.keys());
    let moved = (0..).zip(cases.values_mut());
    results.notes = moved
        .filter_map(|(case, (_, note))| note.take().map(|note| FailureMessage { case, ..note }))
        .collect();
    results.verdicts = cases.values().map(|(verdict, _)| *verdict).collect();
    results.cases = list.sha256();
    results.repeats.clear();
    (list, results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readers::CaseRun;
    use crate::results::collect;

    fn counted(picture: &[(&str, Verdict)]) -> String {
        let run = |&(name, verdict): &(&str, Verdict)| CaseRun {
            name: name.into(),
            verdict,
            duration_ms: None,
            text: verdict.is_bad().then(|| format!("why {name}")),
        };
        let (list, results) = collect(picture.iter().map(run), true);
        let (list, results) = count_repeats(list, results);
        assert_eq!(results.check(&list), Ok(()));
        let names: Vec<&str> = list.names().collect();
        let notes: Vec<String> = results
            .notes
            .iter()
            .map(|note| format!("{}: {}", names[note.case as usize], note.text))
            .collect();
        format!("{} | {} | {}", names.join(", "), results.verdicts.as_letters(), notes.join(", "))
    }

    #[test]
    fn each_further_time_is_a_case_that_says_no_more() {
        use Verdict::{Fail, Pass, Skip, Unreached};
        for (picture, expected) in [
            (vec![("a", Pass), ("b", Pass)], "a, b | PP | "),
            (vec![("a", Pass), ("b", Fail), ("a", Pass), ("a", Skip)], "a, a ×2, a ×3, b | SPPF | b: why b"),
            (vec![("a", Pass), ("a", Fail), ("c", Fail)], "a, a ×2, c | FUF | a: why a, c: why c"),
            (vec![("a", Unreached), ("a", Pass)], "a, a ×2 | UP | "),
            (vec![("a", Pass), ("a", Pass), ("a ×2", Fail)], "a, a ×2 | PF | a ×2: why a ×2"),
            (vec![("fault:a", Fail), ("fault:a", Fail)], "fault:a | F | fault:a: why fault:a"),
        ] {
            assert_eq!(counted(&picture), expected, "{picture:?}");
        }
    }

    #[test]
    fn a_name_says_whether_it_counts_another() {
        for (name, of) in [
            ("a ×2", Some("a")),
            ("a b ×100", Some("a b")),
            ("a ×2 ×3", Some("a ×2")),
            ("a ×1", None),
            ("a ×101", None),
            ("a x2", None),
            ("a ×", None),
            ("a", None),
        ] {
            assert_eq!(repeated(name), of, "{name}");
        }
    }

    #[test]
    fn no_more_are_counted_than_a_build_may_have_cases() {
        let runs = |name: String, times| {
            (0..times).map(move |_| CaseRun {
                name: name.clone(),
                verdict: Verdict::Pass,
                duration_ms: None,
                text: None,
            })
        };
        let often = runs("often".into(), 1_000).chain(runs("x".repeat(MAX_NAME_BYTES), 2));
        let (list, results) = collect(often, true);
        let (list, results) = count_repeats(list, results);
        assert_eq!((list.len(), results.verdicts.len()), (101, 101));
        let full = (0..MAX_CASES).flat_map(|case| runs(format!("{case:06}"), 1 + usize::from(case == 0)));
        let (list, results) = collect(full, true);
        assert_eq!(count_repeats(list, results).0.len(), MAX_CASES);
    }
}
