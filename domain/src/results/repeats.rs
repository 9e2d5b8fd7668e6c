//! Counts how often a name came, as further cases: `name ×2`, `name ×3`. Each shows only that the name came so often, so
//! fewer of them are a loss like any other, and a search can look for it.

use std::collections::BTreeMap;

use protocol::Verdict;

use super::count_sign::{MAX_COUNTED, SIGN};
use super::{CaseList, FailureMessage, Results};
use crate::numbers::index;
use crate::readers::{MAX_CASES, MAX_NAME_BYTES, is_fault};

/// The name that this name counts: `name` for `name ×2`. None for any other name.
pub fn repeated(name: &str) -> Option<&str> {
    let (name, times) = name.rsplit_once(SIGN)?;
    (2..=MAX_COUNTED).contains(&times.parse().ok()?).then_some(name)
}

/// Turns the repeats of the results into cases, as far as a build may have so many.
///
/// If a case failed, the count of it is unreached: a run may end it early, or report it twice because its tear-down
/// failed, too.
pub fn count_repeats(list: CaseList, mut results: Results) -> (CaseList, Results) {
    let mut room = MAX_CASES - list.len();
    let mut cases: BTreeMap<String, (Verdict, Option<FailureMessage>)> = BTreeMap::new();
    for (&case, &times) in &results.repeats {
        let (Some(name), Some(verdict)) = (list.get(index(case)), results.verdicts.get(index(case))) else {
            continue;
        };
        if is_fault(name) {
            continue;
        }
        let counted_verdict = if verdict.is_bad() { Verdict::Unreached } else { Verdict::Pass };
        for time in 2..=times.min(MAX_COUNTED) {
            let counted = format!("{name}{SIGN}{time}");
            if room > 0 && counted.len() <= MAX_NAME_BYTES && list.index_of(&counted).is_none() {
                cases.insert(counted, (counted_verdict, None));
                room -= 1;
            }
        }
    }
    if cases.is_empty() {
        return (list, results);
    }
    let mut messages = std::mem::take(&mut results.failure_messages).into_iter().peekable();
    for ((case, name), verdict) in (0..).zip(list.names()).zip(results.verdicts.iter()) {
        cases.insert(name.to_string(), (verdict, messages.next_if(|message| message.case == case)));
    }
    let list = CaseList::from_sorted(cases.keys());
    let moved = (0..).zip(cases.values_mut());
    results.failure_messages = moved
        .filter_map(|(case, (_, message))| message.take().map(|message| FailureMessage { case, ..message }))
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
            places: vec![],
        };
        let (list, results) = collect(picture.iter().map(run), true);
        let (list, results) = count_repeats(list, results);
        assert_eq!(results.check(&list), Ok(()));
        let names: Vec<&str> = list.names().collect();
        let messages: Vec<String> = results
            .failure_messages
            .iter()
            .map(|message| format!("{}: {}", names[index(message.case)], message.text))
            .collect();
        format!("{} | {} | {}", names.join(", "), results.verdicts.as_letters(), messages.join(", "))
    }

    #[test]
    fn each_repeat_is_a_case_that_passes_or_is_unreached() {
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
    fn a_name_shows_whether_it_counts_another() {
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
    fn a_build_gets_no_more_cases_by_counting_than_it_may_have() {
        let runs = |name: String, times| {
            (0..times).map(move |_| CaseRun {
                name: name.clone(),
                verdict: Verdict::Pass,
                duration_ms: None,
                text: None,
                places: vec![],
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
