//! What a change did to the suites that were good before it.

use super::*;

/// Four more projects, whose suites do what the pictures say on the changes 1, 2, ...: `+` passed, `-` failed, `.` not run.
async fn suites(farm: &Farm, pictures: [&str; 4]) -> [BuilderId; 4] {
    let mut builders = Vec::new();
    for (at, picture) in pictures.into_iter().enumerate() {
        let (trunk, branch, platform) = (farm.trunk, farm.branch, farm.platform);
        let name = format!("p{at}");
        let builder = farm
            .store
            .write(move |tx| {
                Box::pin(async move {
                    let project = tx.put_project(trunk, &name, "https://example.org/p.git").await?;
                    tx.put_builder(branch, platform, Some(project)).await
                })
            })
            .await
            .unwrap();
        for (position, letter) in (1..).zip(picture.chars()) {
            let outcome = match letter {
                '+' => Outcome::Passed,
                '-' => Outcome::Failed,
                '.' => continue,
                other => panic!("no outcome is drawn as {other}"),
            };
            let new = NewBuild { builder, ..farm.suite(position, Reason::Tip) };
            let build = farm.queue(new).await;
            farm.finish(build, outcome).await;
        }
        builders.push(builder);
    }
    builders.try_into().unwrap()
}

async fn breakage_share(farm: &Farm, position: usize) -> (u32, u32) {
    let (branch, change) = (farm.branch, farm.change(position));
    let found = ask!(farm, read => read.breakage_share(branch, change)).unwrap();
    (found.failed, found.were_good)
}

#[tokio::test]
async fn the_breakage_share_counts_suites_that_were_good_whether_or_not_they_have_run_yet() {
    let farm = Farm::new().await;
    suites(&farm, ["+-", "+.-", "+.+", "-.-"]).await;
    assert_eq!(breakage_share(&farm, 2).await, (1, 3));
    assert_eq!(breakage_share(&farm, 3).await, (1, 2));
    assert_eq!(breakage_share(&farm, 1).await, (0, 0));
}

#[tokio::test]
async fn what_fails_with_other_project_inputs_is_not_in_the_breakage_share() {
    let farm = Farm::new().await;
    let builders = suites(&farm, ["++", "+++", "+-", "+."]).await;
    for builder in builders {
        let branch = farm.branch;
        let project = ask!(farm, read => read.builder(builder)).unwrap().project.unwrap();
        let recipe = farm.recipe;
        let pin =
            put!(farm, tx => tx.propose_pin(project, branch, &project_inputs("r2", recipe), AT)).unwrap();
        let baseline = NewBuild { builder, pin: Some(pin), ..farm.suite(2, Reason::Baseline) };
        let baseline = farm.queue(baseline).await;
        farm.finish(baseline, Outcome::Failed).await;
    }
    assert_eq!(breakage_share(&farm, 2).await, (1, 4), "one failed by itself");
    assert_eq!(breakage_share(&farm, 3).await, (0, 3), "a held baseline is part of no history");
}

#[tokio::test]
async fn a_change_is_marked_once_and_may_be_unmarked() {
    let farm = Farm::new().await;
    let (branch, change) = (farm.branch, farm.change(3));
    let sick = || async { ask!(farm, read => read.sick_changes(branch)).unwrap() };
    for (mark, expected) in [(true, [change].into()), (true, [change].into()), (false, [].into())] {
        put!(farm, tx => tx.set_change_sick(branch, change, mark, AT)).unwrap();
        assert_eq!(sick().await, expected);
    }
    put!(farm, tx => tx.set_change_sick(branch, change, true, AT)).unwrap();
    put!(farm, tx => tx.mark_position_gone(branch, 3, LATER)).unwrap();
    assert_eq!(sick().await, [].into());
}
