//! Toolchain inputs: their life, the histories over two of them, and the toolchains that were made apart.

use std::collections::BTreeSet;

use domain::project_inputs::InputsId;
use domain::project_inputs::toolchain::ToolchainInputs;
use domain::words::ids::ToolchainInputsId;
use domain::words::states::ToolchainInputsState;
use protocol::Environment;

use super::*;

impl Farm {
    fn inputs(&self, environment: Option<&str>) -> ToolchainInputs {
        let environment = environment.map(|text| text.split(',').map(str::to_string).collect());
        ToolchainInputs { recipe: self.recipe, environment }
    }

    async fn propose_toolchain(&self, environment: Option<&str>) -> ToolchainInputsId {
        let (toolchains, inputs) = (self.toolchains, self.inputs(environment));
        put!(self, tx => tx.propose_toolchain_inputs(toolchains, &inputs, AT)).unwrap()
    }

    async fn take_toolchain(&self, environment: Option<&str>) -> ToolchainInputsId {
        let id = self.propose_toolchain(environment).await;
        put!(self, tx => tx.take_toolchain_inputs(id, LATER)).unwrap();
        id
    }

    /// Runs the suite on a change with these toolchain inputs.
    async fn run_under(
        &self,
        inputs: ToolchainInputsId,
        position: usize,
        reason: Reason,
        picture: &str,
    ) -> BuildId {
        let hash = Sha256([position as u8 + 50 * inputs.0 as u8; 32]);
        let new = NewBuild { toolchain_inputs: Some(inputs), inputs: hash, ..self.suite(position, reason) };
        let build = self.queue(new).await;
        self.tell(build, picture).await;
        let suites = self.suites;
        put!(self, tx => tx.make_history(suites, build)).unwrap();
        build
    }

    fn toolchain(&self, position: usize, inputs: ToolchainInputsId, reason: Reason) -> NewBuild {
        NewBuild {
            builder: self.toolchains,
            pin: None,
            toolchain_inputs: Some(inputs),
            ..self.suite(position, reason)
        }
    }

    async fn states(&self) -> Vec<(i64, ToolchainInputsState)> {
        let toolchains = self.toolchains;
        let live = ask!(self, read => read.live_toolchain_inputs(toolchains)).unwrap();
        live.into_iter().map(|inputs| (inputs.id.0, inputs.state)).collect()
    }

    async fn behind(&self, inputs: ToolchainInputsId) -> BTreeSet<BuilderId> {
        let toolchains = self.toolchains;
        let builder = ask!(self, read => read.builder(toolchains)).unwrap();
        ask!(self, read => read.builders_behind(&builder, inputs)).unwrap()
    }
}

#[tokio::test]
async fn toolchain_inputs_are_proposed_wait_and_are_taken_into_use() {
    use ToolchainInputsState as State;
    let farm = Farm::new().await;
    let first = farm.take_toolchain(None).await;
    assert_eq!(farm.states().await, [(first.0, State::Current)]);
    let environment = farm.inputs(Some("cc=gcc 12")).environment.unwrap();
    put!(farm, tx => tx.learn_toolchain_environment(first, &environment)).unwrap();
    put!(farm, tx => tx.learn_toolchain_environment(first, &["cc=gcc 13".into()])).unwrap();
    let row = ask!(farm, read => read.toolchain_inputs(first)).unwrap();
    assert_eq!(row.inputs, farm.inputs(Some("cc=gcc 12")), "the first environment stays");

    let second = farm.propose_toolchain(Some("cc=gcc 13")).await;
    put!(farm, tx => tx.mark_toolchain_inputs_worse(second, AT)).unwrap();
    let waiting = ask!(farm, read => read.waiting_toolchain_inputs()).unwrap();
    assert_eq!(waiting, [("lua master linux-x86_64".to_string(), AT)]);
    let third = farm.propose_toolchain(Some("cc=gcc 14")).await;
    assert!(third > second, "inputs that return are new ones");
    let row = ask!(farm, read => read.toolchain_inputs(third)).unwrap();
    assert_eq!(row.worse_since, Some(AT), "it continues the wait of the one before");
    assert_eq!(
        refusal(put!(farm, tx => tx.take_toolchain_inputs(second, LATER))),
        "the toolchain inputs are not proposed"
    );
    put!(farm, tx => tx.take_toolchain_inputs(third, LATER)).unwrap();
    assert_eq!(farm.states().await, [(third.0, State::Current)]);
    let past = ask!(farm, read => read.toolchain_inputs(first)).unwrap();
    assert_eq!(past.state, State::Past);
    let fourth = farm.propose_toolchain(None).await;
    put!(farm, tx => tx.drop_toolchain_inputs(fourth)).unwrap();
    assert_eq!(farm.states().await, [(third.0, State::Current)]);
    assert!(ask!(farm, read => read.waiting_toolchain_inputs()).unwrap().is_empty());
}

#[tokio::test]
async fn a_history_goes_over_a_baseline_to_new_toolchain_inputs() {
    let farm = Farm::new().await;
    let suites = farm.suites;
    // The first builds are older than toolchain inputs.
    let (one, two) = (farm.run(1, "PP").await, farm.run(2, "PP").await);
    let new = farm.take_toolchain(None).await;
    assert_eq!(
        farm.behind(new).await,
        BTreeSet::from([suites]),
        "toolchains without a history are not behind"
    );
    let baseline = farm.run_under(new, 2, Reason::Baseline, "FP").await;
    assert!(farm.behind(new).await.is_empty());
    let three = farm.run_under(new, 3, Reason::Tip, "FF").await;
    let history = ask!(farm, read => read.history_builds(suites)).unwrap();
    let builds: Vec<BuildId> = history.into_iter().map(|(_, build)| build).collect();
    assert_eq!(builds, [one, two, baseline, three]);

    let case_histories = histories::history(&farm, suites).await.case_histories;
    let a = farm.case('a').await;
    let of_a = case_histories.iter().find(|history| history.case == a).unwrap();
    assert_eq!(of_a.baselines, BTreeSet::from([2]), "what differs there is nobody's");
    let pin = Some(farm.pin);
    // At the baseline the old inputs come first; the last change has no build.
    let expected = [(2, Some(None)), (3, Some(Some(new))), (5, None)];
    for (position, toolchain) in expected {
        let change = farm.change(position);
        let inputs = ask!(farm, read => read.inputs_of(suites, change)).unwrap();
        assert_eq!(inputs, toolchain.map(|toolchain| InputsId { toolchain, pin }), "{position}");
    }
    let first = farm.change(1);
    let timelines = ask!(farm, read => read.suite_timelines(&BTreeSet::from([suites]), first)).unwrap();
    assert_eq!(timelines[&suites].history, ask!(farm, read => read.history(suites)).unwrap());
    assert_eq!(timelines[&suites].cells, ask!(farm, read => read.history_cells(suites)).unwrap());

    // A search of what went bad afterwards leaves out what ran with the old inputs.
    let b = farm.case('b').await;
    let breakage = farm.open_breakage(2, 3, &[b]).await;
    let breakage = ask!(farm, read => read.breakage(breakage)).unwrap();
    let changes = [farm.change(2), farm.change(3)];
    let evidence = ask!(farm, read => read.evidence(&breakage, &changes)).unwrap();
    let with: Vec<_> = evidence.iter().map(|run| (run.build, run.inputs.toolchain)).collect();
    assert_eq!(with, [(two, None), (baseline, Some(new)), (three, Some(new))]);
}

#[tokio::test]
async fn the_cases_that_differ_at_a_switch_are_shown() {
    let farm = Farm::new().await;
    let (toolchains, old) = (farm.toolchains, farm.take_toolchain(Some("cc=gcc 12")).await);
    farm.run_under(old, 2, Reason::Tip, "PP").await;
    let new = farm.take_toolchain(Some("cc=gcc 13")).await;
    let branch = farm.branch.0;
    assert!(ask!(farm, read => read.switch_rows(branch, 9)).unwrap().is_empty(), "its baseline is not there");
    let forced = farm.queue(farm.toolchain(2, new, Reason::Force)).await;
    farm.finish(forced, Outcome::Passed).await;
    put!(farm, tx => tx.promote_to_baseline(forced)).unwrap();
    assert_eq!(refusal(put!(farm, tx => tx.promote_to_baseline(forced))), "the build was not forced");
    let cells = ask!(farm, read => read.history_cells(toolchains)).unwrap();
    assert_eq!(cells.len(), 1, "it makes history now");
    farm.run_under(new, 2, Reason::Baseline, "FP").await;
    let switches = ask!(farm, read => read.switch_rows(branch, 9)).unwrap();
    let [switch] = switches.as_slice() else { panic!("one switch: {switches:?}") };
    assert_eq!((switch.id, switch.change.id, switch.build), (new.0, farm.change(2).0, forced.0));
    assert_eq!(switch.old, Some(farm.inputs(Some("cc=gcc 12"))));
    assert_eq!(switch.new, farm.inputs(Some("cc=gcc 13")));
    let cases = ask!(farm, read => read.switched_cases(new.0, 9)).unwrap();
    let shown: Vec<_> = cases.iter().map(|case| (case.case.as_str(), case.was, case.became)).collect();
    assert_eq!(shown, [("a", Some(Verdict::Pass), Verdict::Fail)]);
}

#[tokio::test]
async fn a_toolchain_that_was_made_in_another_environment_makes_no_history() {
    let farm = Farm::new().await;
    let (toolchains, inputs) = (farm.toolchains, farm.take_toolchain(Some("cc=gcc 12")).await);
    let other = farm.inputs(Some("cc=gcc 13"));
    let apart = put!(farm, tx => tx.put_dropped_toolchain_inputs(toolchains, &other, AT)).unwrap();
    let build = farm.queue(farm.toolchain(2, inputs, Reason::Tip)).await;
    put!(farm, tx => tx.set_toolchain_inputs(build, apart, Sha256([9; 32]))).unwrap();
    farm.finish(build, Outcome::Passed).await;
    let row = ask!(farm, read => read.build(build)).unwrap();
    assert_eq!((row.reason, row.toolchain_inputs), (Reason::Force, Some(apart)));
    assert!(ask!(farm, read => read.history_cells(toolchains)).unwrap().is_empty());
    assert!(ask!(farm, read => read.toolchain_cells(toolchains, Some(inputs))).unwrap().is_empty());
    let cells = ask!(farm, read => read.toolchain_cells(toolchains, Some(apart))).unwrap();
    assert_eq!(cells[&farm.change(2)].build, build);
    let last = ask!(farm, read => read.toolchain_baseline(toolchains, apart)).unwrap();
    assert_eq!(last.map(|build| build.id), Some(build));
    assert_eq!(ask!(farm, read => read.toolchain_baseline(toolchains, inputs)).unwrap(), None);
    // The change is made again with the inputs in use.
    let again = farm.queue(farm.toolchain(2, inputs, Reason::Tip)).await;
    assert!(again > build);
    assert_eq!(
        refusal(put!(farm, tx => tx.set_toolchain_inputs(build, inputs, Sha256([8; 32])))),
        "the build is finished already"
    );
}

#[tokio::test]
async fn what_waits_with_old_toolchain_inputs_is_dropped() {
    let farm = Farm::new().await;
    let toolchains = farm.toolchains;
    let (old, new) = (farm.take_toolchain(None).await, farm.propose_toolchain(None).await);
    let waiting = farm.queue(farm.toolchain(3, old, Reason::Tip)).await;
    let running = farm.queue(farm.toolchain(2, old, Reason::Tip)).await;
    farm.lease(running).await;
    let forced = farm.queue(farm.toolchain(1, new, Reason::Force)).await;
    assert!(ask!(farm, read => read.is_history_leased(toolchains)).unwrap());
    assert_eq!(put!(farm, tx => tx.drop_queued_history(toolchains, Some(old), AT)).unwrap(), 0);
    assert_eq!(put!(farm, tx => tx.drop_queued_history(toolchains, None, AT)).unwrap(), 1);
    assert_eq!(refusal(ask!(farm, read => read.build(waiting))), "there is no such build");
    for build in [running, forced] {
        assert_ne!(ask!(farm, read => read.build(build)).unwrap().state, domain::words::BuildState::Finished);
    }
    // A proposal that is given up takes its builds with it.
    put!(farm, tx => tx.drop_toolchain_inputs(new)).unwrap();
    assert_eq!(put!(farm, tx => tx.drop_unwanted_builds(AT, AT)).unwrap(), 1);
    assert_eq!(refusal(ask!(farm, read => read.build(forced))), "there is no such build");
}

#[tokio::test]
async fn a_makers_environment_is_that_of_its_last_attempt() {
    let farm = Farm::new().await;
    let ask_makers = || async { ask!(farm, read => read.makers(EVER)).unwrap() };
    let ran_in = |position: usize, compiler: &'static str| {
        let farm = &farm;
        async move {
            let attempt = farm.lease(farm.queue(farm.suite(position, Reason::Tip)).await).await;
            let properties = vec![format!("cc={compiler}")];
            let sha256 = Sha256([position as u8; 32]);
            let environment = Environment { sha256, properties };
            put!(farm, tx => tx.put_environment(attempt, &environment)).unwrap();
            ask!(farm, read => read.environment_of(attempt)).unwrap()
        }
    };
    let worker = farm.worker;
    put!(farm, tx => tx.mark_worker_left(worker, AT)).unwrap();
    assert_eq!(ask_makers().await[0].environment, None);
    assert_eq!(ran_in(1, "gcc 12").await, Some(vec!["cc=gcc 12".to_string()]));
    ran_in(2, "gcc 13").await;
    assert_eq!(ask_makers().await[0].environment, Some(vec!["cc=gcc 13".to_string()]));
    let later = Timestamp(AT.0 + 1);
    assert!(ask!(farm, read => read.makers(later)).unwrap().is_empty(), "it was not seen since then");
}
