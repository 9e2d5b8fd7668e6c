//! Whatever comes to a builder: to look at what it may have changed says the same as to look at all.

use domain::breakage::mark::{Mark, MarkKind};
use domain::breakage::{BreakageAction, StoredBreakage, settle};
use domain::words::BreakageState;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const CHANGES: usize = 9;
const CASES: usize = 6;

/// What comes to the builder next.
#[derive(Debug, Clone)]
enum Event {
    /// A history build or, where the position is taken, a null run. Verdicts are steady over the positions but for a
    /// few.
    Run {
        at: usize,
        own: bool,
        odd: Vec<(usize, char)>,
        broken_off: bool,
    },
    /// The oldest search ends.
    Found {
        state: BreakageState,
        culprit: Index,
    },
    Unstable(usize),
    Mark(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let verdict = prop::sample::select(vec!['P', 'F', 'E', 'S', '.', 'U']);
    let odd = prop::collection::vec((0..CASES, verdict), 0..3);
    let state = prop::sample::select(vec![
        BreakageState::Named,
        BreakageState::OneOfK,
        BreakageState::Inconclusive,
        BreakageState::Flaky,
        BreakageState::Environment,
    ]);
    prop_oneof![
        12 => (1..=CHANGES, prop::bool::weighted(0.9), odd, prop::bool::weighted(0.1))
            .prop_map(|(at, own, odd, broken_off)| Event::Run { at, own, odd, broken_off }),
        6 => (state, any::<Index>()).prop_map(|(state, culprit)| Event::Found { state, culprit }),
        1 => (0..CASES).prop_map(Event::Unstable),
        1 => (0..CASES).prop_map(Event::Mark),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_narrow_look_says_what_a_whole_one_says(
        // From where on, and until where, each case is bad.
        spans in prop::collection::vec((2..=CHANGES, 1..CHANGES), CASES),
        events in prop::collection::vec(event(), 4..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut scene = Scene::new(spans).await;
            for event in events {
                scene.hear(event).await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}

struct Scene {
    farm: Farm,
    spans: Vec<(usize, usize)>,
    built: BTreeSet<usize>,
    ran: Option<BuildId>,
    marks: Vec<Mark>,
}

impl Scene {
    async fn new(spans: Vec<(usize, usize)>) -> Scene {
        let mut farm = Farm::new().await;
        let (trunk, branch) = (farm.trunk, farm.branch);
        for position in farm.changes.len() + 1..=CHANGES {
            let place = position as i64;
            let put = farm.store.write(move |tx| {
                Box::pin(async move {
                    let change = tx.put_change(trunk, &commit(place), AT).await?;
                    tx.append_position(branch, place, change).await?;
                    Ok(change)
                })
            });
            farm.changes.push(put.await.unwrap());
        }
        Scene { farm, spans, built: BTreeSet::new(), ran: None, marks: Vec::new() }
    }

    fn picture(&self, at: usize, odd: &[(usize, char)], broken_off: bool) -> String {
        let is_bad = |&(from, count): &(usize, usize)| (from..from + count).contains(&at);
        let mut letters: Vec<char> =
            self.spans.iter().map(|span| if is_bad(span) { 'F' } else { 'P' }).collect();
        for &(case, letter) in odd {
            letters[case] = letter;
        }
        letters.into_iter().chain(broken_off.then_some('~')).collect()
    }

    async fn hear(&mut self, event: Event) -> Result<(), TestCaseError> {
        let suites = self.farm.suites;
        match event {
            Event::Run { at, own, odd, broken_off } => {
                let is_first = self.built.insert(at);
                if let (true, false, Some(equal)) = (is_first, own, self.ran) {
                    let build = self.farm.queue(self.farm.suite(at, Reason::Tip)).await;
                    let finish = Finish { same_as: Some(equal), ..ended(Outcome::Passed) };
                    put!(self.farm, tx => tx.finish_build(build, &finish, AT)).unwrap();
                    return self.makes_history(build).await;
                }
                let reason = if is_first { Reason::Tip } else { Reason::Null };
                let build = self.farm.queue(self.farm.suite(at, reason)).await;
                self.farm.tell(build, &self.picture(at, &odd, broken_off)).await;
                if is_first {
                    self.ran = Some(build);
                    return self.makes_history(build).await;
                }
                let open = ask!(self.farm, read => read.cases_of_open_breakages(suites)).unwrap();
                self.look(HistoryNews::Cases(open)).await
            }
            Event::Found { state, culprit } => {
                let all = ask!(self.farm, read => read.breakages_of(suites)).unwrap();
                let Some(row) = all.into_iter().find(|row| row.state.is_undecided()) else { return Ok(()) };
                let order = &self.farm.changes;
                let place = |change| order.iter().position(|known| *known == change).unwrap();
                let (good, bad) = (place(row.good), place(row.bad));
                let last = good + 1 + culprit.index(bad - good);
                let parent = if state == BreakageState::Named { last - 1 } else { good };
                let is_named = matches!(state, BreakageState::Named | BreakageState::OneOfK);
                let (last, parent) = (is_named.then(|| order[last]), is_named.then(|| order[parent]));
                put!(self.farm, tx => tx.record_search_result(row.id, state, last, parent, AT)).unwrap();
                self.look(HistoryNews::Cases(row.cases)).await
            }
            Event::Unstable(case) => {
                let Some(case) = self.case(case).await else { return Ok(()) };
                put!(self.farm, tx => tx.put_unstable_cases(suites, &[case].into(), AT)).unwrap();
                Ok(())
            }
            Event::Mark(case) => {
                let cases = char::from(b'a' + case as u8).to_string();
                self.marks.push(Mark {
                    kind: MarkKind::Flaky,
                    cases,
                    branch: None,
                    platform: None,
                    variant: None,
                    issue: "https://example.org/1".to_string(),
                    until: LATER,
                });
                let (project, marks) = (self.farm.project, self.marks.clone());
                put!(self.farm, tx => tx.put_marks(project, &marks)).unwrap();
                Ok(())
            }
        }
    }

    async fn case(&self, case: usize) -> Option<CaseId> {
        let name = char::from(b'a' + case as u8).to_string();
        let id = sqlx::query_scalar("select id from named_case where name = ?").bind(name);
        let id: Option<i64> = ask!(self.farm, read => id.fetch_optional(&mut *read.connection)).unwrap();
        id.map(CaseId)
    }

    async fn makes_history(&self, build: BuildId) -> Result<(), TestCaseError> {
        let suites = self.farm.suites;
        let turned = put!(self.farm, tx => tx.make_history(suites, build)).unwrap();
        self.look(HistoryNews::Build(turned)).await
    }

    /// Evaluates both ways, and performs what was decided.
    async fn look(&self, news: HistoryNews) -> Result<(), TestCaseError> {
        let suites = self.farm.suites;
        let row = ask!(self.farm, read => read.builder(suites)).unwrap();
        let narrow = ask!(self.farm, read => read.breakage_inputs(&row, &news, EVER, AT)).unwrap();
        let whole = ask!(self.farm, read => read.breakage_inputs(&row, &HistoryNews::Any, EVER, AT)).unwrap();
        prop_assert_eq!(narrow.basis, whole.basis);
        let said = |look: &BreakageInputs| {
            let stored: Vec<StoredBreakage> = look.breakages.iter().map(StoredBreakage::from).collect();
            let mut actions = settle(&look.history, &stored);
            // One that has its second run already is asked for again, and then left alone.
            actions.retain(|action| !matches!(action, BreakageAction::Prove { .. }));
            actions
        };
        let actions = said(&narrow);
        prop_assert_eq!(&actions, &said(&whole), "of {:?}", news);
        let stored: Vec<StoredBreakage> = narrow.breakages.iter().map(StoredBreakage::from).collect();
        let mut unsettled = BTreeSet::new();
        for action in actions {
            unsettled.extend(action.cases_to_settle_again(&stored));
            match action {
                BreakageAction::Open {
                    good,
                    bad,
                    cases,
                    lost,
                    hidden,
                    repaired,
                    fixed,
                    split_from,
                    again_of,
                } => {
                    let opened = NewBreakage {
                        builder: suites,
                        good,
                        bad,
                        cases,
                        not_run: lost,
                        hidden,
                        repaired,
                        fixed,
                        search_worker: None,
                        split_from,
                        again_of,
                    };
                    put!(self.farm, tx => tx.open_breakage(&opened, AT)).unwrap();
                }
                BreakageAction::Update { id, good, bad, cases, lost, repaired, fixed } => {
                    let update = BreakageUpdate { good, bad, cases, not_run: lost, repaired, fixed };
                    put!(self.farm, tx => tx.update_breakage(id, &update, AT)).unwrap();
                }
                BreakageAction::Prove { .. } => {}
                BreakageAction::Gone(id) => put!(self.farm, tx => tx.mark_breakage_gone(id, AT)).unwrap(),
            }
        }
        put!(self.farm, tx => tx.mark_builder_settled(suites, narrow.basis, &unsettled)).unwrap();
        Ok(())
    }
}
