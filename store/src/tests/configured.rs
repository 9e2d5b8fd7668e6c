//! What the configuration names: trunks, branches and their changes, projects, builders, artifacts.

use domain::words::BuilderKind;
use protocol::PackedToolchain;

use domain::history::mend::MendedPositions;

use super::*;

#[tokio::test]
async fn a_trunk_named_again_is_the_same_one_at_its_new_url() {
    let farm = Farm::new().await;
    let again = put!(farm, tx => tx.put_trunk("lua", "https://example.org/moved.git")).unwrap();
    assert_eq!(again, farm.trunk);
    let trunks = ask!(farm, read => read.trunks()).unwrap();
    assert_eq!(trunks.len(), 1);
    assert_eq!(trunks[0].git, "https://example.org/moved.git");
}

#[tokio::test]
async fn a_trunk_records_since_when_and_how_often_its_polls_fail() {
    let farm = Farm::new().await;
    let trunk = farm.trunk;
    put!(farm, tx => tx.record_trunk_failure(trunk, "no route", AT)).unwrap();
    put!(farm, tx => tx.record_trunk_failure(trunk, "refused", LATER)).unwrap();
    let row = ask!(farm, read => read.trunks()).unwrap().remove(0);
    assert_eq!((row.failures, row.failing_since, row.failure.as_deref()), (2, Some(AT), Some("refused")));
    put!(farm, tx => tx.record_trunk_poll(trunk, LATER)).unwrap();
    let row = ask!(farm, read => read.trunks()).unwrap().remove(0);
    assert_eq!((row.failures, row.failing_since, row.failure, row.polled_at), (0, None, None, Some(LATER)));
    let unknown = put!(farm, tx => tx.record_trunk_failure(TrunkId(99), "why", AT));
    assert_eq!(refusal(unknown), "the trunk is not registered");
}

#[tokio::test]
async fn a_branch_is_watched_gone_or_retired() {
    let farm = Farm::new().await;
    let (trunk, branch) = (farm.trunk, farm.branch);
    let gone = || async { ask!(farm, read => read.branch(branch)).unwrap().gone };
    put!(farm, tx => tx.mark_branch_gone(branch, true)).unwrap();
    assert!(gone().await);
    // Named again in a configuration that is read again: it is still gone upstream.
    put!(farm, tx => tx.put_branch(trunk, "master")).unwrap();
    assert!(gone().await);
    put!(farm, tx => tx.mark_branch_gone(branch, false)).unwrap();
    assert!(!gone().await);

    put!(farm, tx => tx.retire_branch(branch)).unwrap();
    assert_eq!(ask!(farm, read => read.branches()).unwrap(), []);
    let late = put!(farm, tx => tx.mark_branch_gone(branch, true));
    assert_eq!(refusal(late), "the branch is not watched");
    assert_eq!(put!(farm, tx => tx.put_branch(trunk, "master")).unwrap(), branch);
    assert_eq!(ask!(farm, read => read.branches()).unwrap().len(), 1);
    assert_eq!(refusal(ask!(farm, read => read.branch(BranchId(99)))), "there is no such branch");
}

#[tokio::test]
async fn a_change_found_again_is_the_same_one_with_its_paths() {
    let farm = Farm::new().await;
    let trunk = farm.trunk;
    let again = put!(farm, tx => tx.put_change(trunk, &commit(3), LATER)).unwrap();
    assert_eq!(again, farm.change(3));
    let row = ask!(farm, read => read.change(again)).unwrap();
    assert_eq!((row.title.as_str(), row.committed_at, row.found_at), ("change 3", Timestamp(3), AT));
    assert_eq!(farm.count("change_path").await, 10);
    assert_eq!(refusal(ask!(farm, read => read.change(ChangeId(99)))), "there is no such change");
}

#[tokio::test]
async fn a_rewound_change_leaves_the_order_and_may_return_at_a_new_position() {
    let farm = Farm::new().await;
    let (branch, last) = (farm.branch, farm.change(5));
    put!(farm, tx => tx.mark_position_gone(branch, 5, LATER)).unwrap();
    assert_eq!(ask!(farm, read => read.order(branch)).unwrap(), farm.changes[..4]);
    let twice = put!(farm, tx => tx.mark_position_gone(branch, 5, LATER));
    assert_eq!(refusal(twice), "the position is gone already");

    put!(farm, tx => tx.append_position(branch, 6, last)).unwrap();
    assert_eq!(ask!(farm, read => read.order(branch)).unwrap(), farm.changes);
    let places = ask!(farm, read => read.branch_positions(branch)).unwrap();
    let places: Vec<_> = places.iter().map(|place| (place.position, place.change, place.gone)).collect();
    assert_eq!(places[4..], [(5, last, true), (6, last, false)]);
}

#[tokio::test]
async fn what_an_older_version_took_for_rewound_is_taken_back_once() {
    let farm = Farm::new().await;
    let (trunk, branch) = (farm.trunk, farm.branch);
    let to_mend = || async { ask!(farm, read => read.branches_to_mend(trunk)).unwrap() };
    assert_eq!(to_mend().await, [], "this version makes no such mistake");
    let unchecked = sqlx::query("update branch set rewinds_checked = 0");
    farm.store
        .write(move |tx| {
            Box::pin(async move { Ok(unchecked.execute(&mut *tx.connection).await?.rows_affected()) })
        })
        .await
        .unwrap();
    put!(farm, tx => tx.mark_position_gone(branch, 3, LATER)).unwrap();
    assert_eq!(to_mend().await, [branch]);
    let dated = ask!(farm, read => read.dated_positions(branch)).unwrap();
    let gone: Vec<_> = dated.iter().map(|it| (it.number, it.found_at, it.gone_at)).collect();
    assert_eq!(gone[2..4], [(3, AT.0, Some(LATER.0)), (4, AT.0, None)]);
    let mended = MendedPositions { restored: vec![3], gone: vec![4] };
    put!(farm, tx => tx.mend_branch(branch, &mended, LATER)).unwrap();
    assert_eq!(to_mend().await, []);
    let order = ask!(farm, read => read.order(branch)).unwrap();
    assert_eq!(order, [farm.change(1), farm.change(2), farm.change(3), farm.change(5)]);
}

/// Not by number, nor by date: a change may be found late and belong before others.
#[tokio::test]
async fn order_is_by_position_alone() {
    let farm = Farm::new().await;
    let (trunk, branch) = (farm.trunk, farm.branch);
    let old = NewChange { committed_at: Timestamp(99), ..commit(9) };
    let late = put!(farm, tx => tx.put_change(trunk, &old, LATER)).unwrap();
    put!(farm, tx => tx.append_position(branch, 0, late)).unwrap();
    assert_eq!(ask!(farm, read => read.order(branch)).unwrap()[0], late);
}

#[tokio::test]
async fn a_project_is_registered_polled_retired_and_registered_again() {
    let farm = Farm::new().await;
    let (trunk, project) = (farm.trunk, farm.project);
    put!(farm, tx => tx.record_project_failure(project, "no route", AT)).unwrap();
    assert_eq!(ask!(farm, read => read.project(project)).unwrap().failures, 1);
    put!(farm, tx => tx.record_project_poll(project, "r2", LATER)).unwrap();
    let row = ask!(farm, read => read.project(project)).unwrap();
    assert_eq!((row.failures, row.newest.as_deref()), (0, Some("r2")));

    put!(farm, tx => tx.retire_project(project)).unwrap();
    assert_eq!(ask!(farm, read => read.projects()).unwrap(), []);
    assert_eq!(ask!(farm, read => read.project(project)).unwrap().name, "penlight");
    assert_eq!(put!(farm, tx => tx.put_project(trunk, "penlight", "url")).unwrap(), project);
    assert_eq!(ask!(farm, read => read.projects()).unwrap()[0].git, "url");

    let unknown = put!(farm, tx => tx.record_project_poll(ProjectId(99), "r", AT));
    assert_eq!(refusal(unknown), "the project is not registered");
    assert_eq!(refusal(ask!(farm, read => read.project(ProjectId(99)))), "there is no such project");
}

#[tokio::test]
async fn a_project_that_moved_to_another_trunk_belongs_to_that_one() {
    let farm = Farm::new().await;
    let other = put!(farm, tx => tx.put_trunk("luajit", "url")).unwrap();
    put!(farm, tx => tx.put_project(other, "penlight", "url")).unwrap();
    let project = farm.project;
    assert_eq!(ask!(farm, read => read.project(project)).unwrap().trunk, other);
}

#[tokio::test]
async fn a_recipe_is_stored_once_by_its_content() {
    let farm = Farm::new().await;
    let smoke = Recipe { smoke: Some("true".to_string()), ..Recipe::default() };
    let kept = smoke.clone();
    let sha256 = put!(farm, tx => tx.put_recipe(&kept)).unwrap();
    assert_eq!(ask!(farm, read => read.recipe(sha256)).unwrap(), smoke);
    let again = put!(farm, tx => tx.put_recipe(&Recipe::default())).unwrap();
    assert_eq!((again, farm.count("recipe").await), (farm.recipe, 2));
    let unknown = ask!(farm, read => read.recipe(Sha256([9; 32])));
    assert_eq!(refusal(unknown), "there is no such recipe");
}

#[tokio::test]
async fn builders_have_names_and_toolchains_are_listed_first() {
    let farm = Farm::new().await;
    let builders = ask!(farm, read => read.builders()).unwrap();
    let told: Vec<_> = builders.iter().map(|b| (b.kind, b.name.as_str())).collect();
    assert_eq!(
        told,
        [
            (BuilderKind::Toolchain, "lua master linux-x86_64"),
            (BuilderKind::Suite, "penlight on lua master linux-x86_64"),
        ]
    );
    let suites = farm.suites;
    assert_eq!(ask!(farm, read => read.builder(suites)).unwrap(), builders[1]);
    assert_eq!(refusal(ask!(farm, read => read.builder(BuilderId(99)))), "there is no such builder");
}

#[tokio::test]
async fn a_builder_that_the_configuration_names_again_is_the_same_one() {
    let farm = Farm::new().await;
    let (branch, platform, project) = (farm.branch, farm.platform, farm.project);
    put!(farm, tx => tx.retire_builders()).unwrap();
    assert_eq!(ask!(farm, read => read.builders()).unwrap(), []);
    let suites = put!(farm, tx => tx.put_builder(branch, platform, Some(project))).unwrap();
    let toolchains = put!(farm, tx => tx.put_builder(branch, platform, None)).unwrap();
    assert_eq!((suites, toolchains), (farm.suites, farm.toolchains));
    assert_eq!(put!(farm, tx => tx.put_platform("linux-x86_64")).unwrap(), platform);
}

#[tokio::test]
async fn a_toolchain_made_again_keeps_its_first_maker() {
    let farm = Farm::new().await;
    let (maker, made) = (farm.worker, PackedToolchain { sha256: Sha256([7; 32]), bytes: 12 });
    put!(farm, tx => tx.put_artifact(made, maker, true, AT)).unwrap();
    put!(farm, tx => tx.put_artifact(made, maker, false, LATER)).unwrap();
    let row = ask!(farm, read => read.artifact(made.sha256)).unwrap();
    assert_eq!(row, Some(Artifact { sha256: made.sha256, bytes: 12, only_worker: Some(maker) }));
    assert_eq!(ask!(farm, read => read.artifact(Sha256([8; 32]))).unwrap(), None);
}
