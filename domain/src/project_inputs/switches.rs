//! Made-up farms on which the trunk, its recipe or compiler, and a project change in any order: neighbours in a history
//! differ in one of the three, and what a switch changes accuses no change of the trunk.

use proptest::prelude::*;

use super::*;
use crate::breakage::{BreakageAction, BuilderHistory, CaseHistory, HistoryBuild, RepairProof, settle};

/// What happens on the farm.
#[derive(Debug, Clone, Copy)]
enum Event {
    Commit,
    /// The trunk's recipe or the environment of its maker changes.
    SwitchToolchain,
    SwitchProject,
    /// The scheduler does one thing. The number chooses a change to backfill, and whether proven inputs are taken already.
    Round(u8),
    /// The newest suite build breaks off, so it is not the one to repeat.
    BreakOff,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => Just(Event::Commit),
        1 => Just(Event::SwitchToolchain),
        1 => Just(Event::SwitchProject),
        8 => any::<u8>().prop_map(Event::Round),
        1 => Just(Event::BreakOff),
    ];
    prop::collection::vec(event, 1..80)
}

/// Inputs in use, and those that are proposed.
#[derive(Debug)]
struct Inputs {
    current: i64,
    proposed: Option<i64>,
    newest: i64,
    /// All that are or were in use.
    used: BTreeSet<i64>,
}

impl Inputs {
    fn new() -> Inputs {
        Inputs { current: 1, proposed: None, newest: 1, used: BTreeSet::from([1]) }
    }

    fn switch(&mut self) {
        self.newest += 1;
        self.proposed = Some(self.newest);
    }

    fn take(&mut self) {
        self.current = self.proposed.take().expect("inputs are taken that were proposed");
        self.used.insert(self.current);
    }
}

#[derive(Debug)]
struct Farm {
    tip: i64,
    builds: i64,
    toolchain: Inputs,
    project: Inputs,
    /// Builds of the suite in the order in which they were made.
    suite: Vec<TimelineBuild>,
    /// From which change on toolchains have which inputs.
    sections: Vec<(i64, i64)>,
    /// Changes that have a toolchain, each with its inputs.
    toolchains: BTreeSet<(i64, i64)>,
}

impl Farm {
    fn new() -> Farm {
        let (toolchain, project) = (Inputs::new(), Inputs::new());
        let (sections, toolchains) = (vec![(1, 1)], BTreeSet::new());
        Farm { tip: 1, builds: 0, toolchain, project, suite: Vec::new(), sections, toolchains }
    }

    /// The suite's history, as the store reads it: baselines of inputs that were never in use are left out.
    fn history(&self) -> Vec<TimelineBuild> {
        let counts =
            |build: &&TimelineBuild| build.inputs.pin.is_some_and(|pin| self.project.used.contains(&pin.0));
        history(&self.suite.iter().filter(counts).copied().collect::<Vec<_>>())
    }

    fn run(&mut self, position: i64, inputs: InputsId, is_baseline: bool) {
        self.builds += 1;
        let build = BuildId(self.builds);
        let change = ChangeId(position);
        self.suite.push(TimelineBuild { build, change, position, inputs, is_baseline, complete: true });
    }

    /// One thing that the scheduler does, in its order: toolchain inputs, project inputs, then what makes history.
    fn round(&mut self, number: u8) {
        let is_patient = number.is_multiple_of(4);
        if self.toolchain.proposed.is_some() {
            return self.take_toolchain();
        }
        let history = self.history();
        let current = Some(ToolchainInputsId(self.toolchain.current));
        if !history.is_empty() && !history.iter().any(|build| build.inputs.toolchain == current) {
            let repeated = baseline_at(&history, &BTreeSet::new()).expect("there is a history");
            let inputs = InputsId { toolchain: current, pin: repeated.inputs.pin };
            return self.run(repeated.position, inputs, true);
        }
        if let Some(proposed) = self.project.proposed
            && self.prove(&history, PinId(proposed), is_patient)
        {
            return;
        }
        self.build(&history, number);
    }

    /// The newest whole toolchain is repeated with the new inputs, which are taken into use then.
    fn take_toolchain(&mut self) {
        let made = |inputs| move |(_, of): &&(i64, i64)| *of == inputs;
        let newest =
            self.toolchains.iter().rfind(made(self.toolchain.current)).map(|(position, _)| *position);
        self.toolchain.take();
        let position = newest.unwrap_or(1);
        self.toolchains.insert((position, self.toolchain.current));
        self.sections.push((position, self.toolchain.current));
    }

    /// Proves project inputs. Returns whether something was done.
    fn prove(&mut self, history: &[TimelineBuild], pin: PinId, is_patient: bool) -> bool {
        let Some(repeated) = baseline_at(history, &BTreeSet::new()).copied() else {
            self.project.take();
            return true;
        };
        let inputs = InputsId { pin: Some(pin), ..repeated.inputs };
        let is_proven = self
            .suite
            .iter()
            .any(|build| build.is_baseline && build.position == repeated.position && build.inputs == inputs);
        match (is_proven, is_patient) {
            (false, _) => self.run(repeated.position, inputs, true),
            // They wait, because they made something worse: the trunk goes on with the old ones.
            (true, true) => return false,
            (true, false) => self.project.take(),
        }
        true
    }

    /// The tip, or one change between the ends.
    fn build(&mut self, history: &[TimelineBuild], number: u8) {
        let between = 1 + i64::from(number) % self.tip;
        let first = InputsId {
            toolchain: Some(ToolchainInputsId(self.toolchain.current)),
            pin: Some(PinId(self.project.current)),
        };
        for position in [self.tip, between] {
            let section = self.sections.iter().rev().find(|(start, _)| *start <= position);
            self.toolchains.insert((position, section.map_or(1, |(_, inputs)| *inputs)));
            let inputs = at(history, position).unwrap_or(first);
            let has_toolchain =
                inputs.toolchain.is_some_and(|inputs| self.toolchains.contains(&(position, inputs.0)));
            let is_built =
                self.suite.iter().any(|build| build.position == position && build.inputs == inputs);
            if has_toolchain && !is_built {
                return self.run(position, inputs, false);
            }
        }
    }

    fn play(&mut self, event: Event) {
        match event {
            Event::Commit => self.tip += 1,
            Event::SwitchToolchain => self.toolchain.switch(),
            Event::SwitchProject => self.project.switch(),
            Event::Round(number) => self.round(number),
            Event::BreakOff => {
                if let Some(build) = self.suite.last_mut().filter(|build| !build.is_baseline) {
                    build.complete = false;
                }
            }
        }
    }

    /// The breakages of a case that fails from a change on, and with some toolchain inputs and project inputs. Each is
    /// drawn as a bit of `bad`.
    fn breakages(&self, culprit: i64, (bad_toolchains, bad_pins): (u8, u8)) -> Vec<(i64, i64)> {
        let history = self.history();
        let is_bad = |build: &TimelineBuild| {
            let bit = |bits: u8, number: i64| bits >> (number % 8) & 1 == 1;
            let by_toolchain = build.inputs.toolchain.is_some_and(|inputs| bit(bad_toolchains, inputs.0));
            let by_project = build.inputs.pin.is_some_and(|pin| bit(bad_pins, pin.0));
            build.position >= culprit || by_toolchain || by_project
        };
        let verdict = |build: &TimelineBuild| match is_bad(build) {
            true => (build.change, Verdict::Fail),
            false => (build.change, Verdict::Pass),
        };
        let case = CaseHistory {
            case: CaseId(1),
            verdicts: history.iter().map(verdict).collect(),
            baselines: begins(&history),
            takeovers: BTreeSet::new(),
            evidence_verdicts: Vec::new(),
        };
        let history_build = |build: &TimelineBuild| HistoryBuild {
            change: build.change,
            own: true,
            ran: 1,
            green: !is_bad(build),
        };
        let history = BuilderHistory {
            order: (1..=self.tip).map(ChangeId).collect(),
            history_builds: history.iter().map(history_build).collect(),
            case_histories: vec![case],
            proof: RepairProof::Model,
            ..BuilderHistory::default()
        };
        let opened = settle(&history, &[]).into_iter().filter_map(|action| match action {
            BreakageAction::Open { good, bad, .. } => Some((good.0, bad.0)),
            BreakageAction::Update { .. } | BreakageAction::Prove { .. } | BreakageAction::Gone(_) => None,
        });
        opened.collect()
    }
}

/// In how many of the three two builds differ.
fn differences(one: &TimelineBuild, other: &TimelineBuild) -> usize {
    let differ = [
        one.change != other.change,
        one.inputs.toolchain != other.inputs.toolchain,
        one.inputs.pin != other.inputs.pin,
    ];
    differ.into_iter().filter(|differs| *differs).count()
}

proptest! {
    #[test]
    fn neighbours_differ_in_one_of_change_toolchain_inputs_and_project_inputs(events in events()) {
        let mut farm = Farm::new();
        for event in events {
            farm.play(event);
            let history = farm.history();
            for pair in history.windows(2) {
                prop_assert_eq!(differences(&pair[0], &pair[1]), 1, "{:?} {:?}", pair, farm);
            }
        }
    }

    #[test]
    fn what_a_switch_changes_accuses_no_change(
        events in events(), culprit in 2..12_i64, bad in any::<(u8, u8)>(),
    ) {
        let mut farm = Farm::new();
        for event in events {
            farm.play(event);
            prop_assert_eq!(farm.breakages(i64::MAX, bad), Vec::new(), "{:?}", farm);
            for (good, bad) in farm.breakages(culprit, bad) {
                prop_assert!(good < culprit && culprit <= bad, "{good}..{bad} {:?}", farm);
            }
        }
    }
}

#[test]
fn both_inputs_may_move_before_either_is_in_use() {
    let mut farm = Farm::new();
    let play = |farm: &mut Farm, events: &[Event]| events.iter().for_each(|event| farm.play(*event));
    play(&mut farm, &[Event::Round(1), Event::Commit, Event::Round(1), Event::SwitchProject]);
    // The project's baseline has run and waits; then the recipe moves, and only then the project's inputs are taken.
    play(&mut farm, &[Event::Round(4), Event::Round(4), Event::SwitchToolchain]);
    play(&mut farm, &[Event::Round(1), Event::Round(1), Event::Round(1), Event::Round(1)]);
    play(&mut farm, &[Event::Commit, Event::Round(1)]);
    let shown: Vec<(i64, i64, i64)> = farm
        .history()
        .iter()
        .map(|build| {
            let (toolchain, pin) = (build.inputs.toolchain.unwrap().0, build.inputs.pin.unwrap().0);
            (build.position, toolchain, pin)
        })
        .collect();
    assert_eq!(shown, [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (3, 2, 2)]);
}
