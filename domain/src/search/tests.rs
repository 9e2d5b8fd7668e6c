//! Searches played against a trunk drawn as a picture: `+` passes there, `-` fails, `b` has no toolchain, `s` says
//! nothing; `=` has the very toolchain of the change before it.

use super::*;

const HERE: WorkerId = WorkerId(1);
const CASE: CaseId = CaseId(1);

fn range(picture: &str) -> Vec<Candidate> {
    let mut artifact = 0;
    picture
        .chars()
        .zip(0..)
        .map(|(c, id)| {
            if c != '=' {
                artifact = id as u8;
            }
            let toolchain =
                if c == 'b' { Toolchain::Broken } else { Toolchain::Built(Sha256([artifact; 32])) };
            Candidate { change: ChangeId(id), toolchain }
        })
        .collect()
}

fn run(at: usize, verdict: Verdict) -> Run {
    Run { at, worker: HERE, probe: true, verdicts: BTreeMap::from([(CASE, verdict)]) }
}

/// Plays a search to its end. `answer` says what the nth run does at a change.
fn play(picture: &str, answer: impl Fn(usize, usize) -> Verdict) -> (Found, Vec<usize>) {
    let range = range(picture);
    let mut runs: Vec<Run> = Vec::new();
    loop {
        match next(&range, Some(HERE), &runs) {
            Next::Probe(at) => {
                assert_ne!(range[at].toolchain, Toolchain::Broken, "a probe of a change without a toolchain");
                runs.push(run(at, answer(at, runs.len())));
            }
            Next::Found(found) => return (found, runs.iter().map(|run| run.at).collect()),
            other => panic!("not in this game: {other:?}"),
        }
    }
}

/// The found words of a trunk whose answers are the picture itself.
fn found(picture: &str) -> String {
    let truth: Vec<char> = picture.chars().collect();
    let (found, probes) = play(picture, |at, _| {
        let drawn = (0..=at).rev().map(|at| truth[at]).find(|&c| c != '=');
        match drawn {
            Some('-') => Verdict::Fail,
            Some('s') => Verdict::Missing,
            _ => Verdict::Pass,
        }
    });
    let words = match found {
        Found::Named { parent, culprit } => format!("{culprit} after {parent}"),
        Found::OneOf { parent, last } => format!("one of {}..{last}", parent + 1),
        Found::Flaky => "flaky".into(),
        Found::Environment => "environment".into(),
        Found::Inconclusive => "inconclusive".into(),
    };
    format!("{words}, {} runs", probes.len())
}

#[test]
fn a_range_of_one_change_is_confirmed_like_any_other() {
    assert_eq!(found("+-"), "1 after 0, 6 runs");
}

#[test]
fn the_search_begins_with_head_and_base_in_turn() {
    let (_, probes) = play("++--", |at, _| if at >= 2 { Verdict::Fail } else { Verdict::Pass });
    assert_eq!(probes[..4], [3, 0, 3, 0]);
}

#[test]
fn the_culprit_is_found_wherever_it_is() {
    for culprit in 1..32 {
        let picture: String = (0..32).map(|at| if at < culprit { '+' } else { '-' }).collect();
        let found = found(&picture);
        assert!(found.starts_with(&format!("{culprit} after {}", culprit - 1)), "{culprit}: {found}");
    }
}

#[test]
fn a_change_without_a_toolchain_is_stepped_around_and_never_blamed_alone() {
    assert_eq!(found("+b-"), "one of 1..2, 6 runs");
    assert!(found("++bb+--").starts_with("5 after 4"));
    assert!(found("++sbs--").starts_with("one of 2..5"));
}

#[test]
fn of_equal_toolchains_only_the_first_is_a_candidate() {
    assert_eq!(found("+==-=="), "3 after 2, 6 runs");
}

#[test]
fn differing_verdicts_on_one_toolchain_are_a_flaky_test() {
    // Head fails, base passes, head passes.
    let (found, probes) = play("+++-", |_, n| if n == 0 { Verdict::Fail } else { Verdict::Pass });
    assert_eq!((found, probes), (Found::Flaky, vec![3, 0, 3]));
    // The run that raised the alarm failed on this worker, and now it passes.
    let alarm = Run { probe: false, ..run(3, Verdict::Fail) };
    assert_eq!(next(&range("+++-"), Some(HERE), &[alarm, run(3, Verdict::Pass)]), Next::Found(Found::Flaky));
}

#[test]
fn a_base_that_fails_today_is_the_environment() {
    let (found, _) = play("+++-", |_, _| Verdict::Fail);
    assert_eq!(found, Found::Environment);
}

#[test]
fn a_head_that_passes_here_is_the_other_machines_trouble() {
    let (found, _) = play("+++-", |_, _| Verdict::Pass);
    assert_eq!(found, Found::Environment);
}

#[test]
fn runs_of_other_workers_do_not_count() {
    let elsewhere = Run { worker: WorkerId(2), ..run(1, Verdict::Pass) };
    assert_eq!(next(&range("+-"), None, &[elsewhere]), Next::Probe(1));
}

#[test]
fn runs_that_happened_to_be_made_narrow_the_range_but_confirm_nothing() {
    let cover = Run { probe: false, ..run(2, Verdict::Fail) };
    let mut runs = vec![cover];
    assert_eq!(next(&range("+---"), Some(HERE), &runs), Next::Probe(3));
    runs.extend(
        [(3, Verdict::Fail), (0, Verdict::Pass), (3, Verdict::Fail), (0, Verdict::Pass)]
            .map(|(at, v)| run(at, v)),
    );
    assert_eq!(next(&range("+---"), Some(HERE), &runs), Next::Probe(1));
}

#[test]
fn a_middle_without_a_toolchain_is_built_first_unless_a_neighbour_has_one() {
    let runs = [(4, Verdict::Fail), (0, Verdict::Pass), (4, Verdict::Fail), (0, Verdict::Pass)]
        .map(|(at, v)| run(at, v));
    let mut unknown = range("+++--");
    for candidate in &mut unknown[1..4] {
        candidate.toolchain = Toolchain::Unknown;
    }
    assert_eq!(next(&unknown, Some(HERE), &runs), Next::Build(2));
}

#[test]
fn cases_that_do_otherwise_become_a_breakage_of_their_own() {
    let verdicts = BTreeMap::from([(CaseId(1), Verdict::Fail), (CaseId(2), Verdict::Pass)]);
    let runs = [Run { verdicts, ..run(1, Verdict::Fail) }];
    assert_eq!(next(&range("+--"), Some(HERE), &runs), Next::Split(BTreeSet::from([CaseId(2)])));
}

#[test]
fn a_flaky_test_of_three_in_ten_is_hardly_ever_blamed_on_a_change() {
    let mut blamed = 0;
    for seed in 0..2_000_u64 {
        // A small generator of its own, so that the test is the same every time.
        let state = std::cell::Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let fails = || {
            let mut x = state.get();
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            state.set(x);
            x % 10 < 3
        };
        let (found, _) = play("+++++++++-", |_, _| if fails() { Verdict::Fail } else { Verdict::Pass });
        if matches!(found, Found::Named { .. } | Found::OneOf { .. }) {
            blamed += 1;
        }
    }
    assert!(blamed <= 20, "{blamed} of 2000");
}

#[test]
fn probes_that_come_to_nothing_are_tried_again_ever_later_and_not_for_ever() {
    let waits: Vec<Option<u64>> = (0..8).map(|in_vain| pause(in_vain).map(|wait| wait.as_secs())).collect();
    let expected = [0, 10, 40, 160, 640, 2560, 10240].map(Some);
    assert_eq!(waits, [&expected[..], &[None]].concat());
    assert_eq!(pause(u32::MAX), None);
}
