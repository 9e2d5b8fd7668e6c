//! Variants: builders of their own, and what is known of a breakage in the other variants.

use domain::sentences::VariantState::{self, Bad, Good, Unknown};
use protocol::PackedToolchain;

use super::*;

/// A suite's builder of a variant: its key, and what it is called.
async fn builder(farm: &Farm, key: &'static str, name: Option<&'static str>) -> BuilderId {
    let (branch, platform, project) = (farm.branch, farm.platform, farm.project);
    put!(farm, tx => tx.put_variant_builder(branch, platform, Some(project), (key, name))).unwrap()
}

#[tokio::test]
async fn a_variant_has_builders_of_its_own_and_the_default_build_keeps_its_under_any_name() {
    let farm = Farm::new().await;
    let default = builder(&farm, "", Some("release")).await;
    assert_eq!(default, farm.suites);
    let jit = builder(&farm, "jit", Some("jit")).await;
    assert_ne!(jit, default);
    assert_eq!(builder(&farm, "jit", Some("jit")).await, jit);

    let rows = ask!(farm, read => read.builders()).unwrap();
    let row = |id| rows.iter().find(|row| row.id == id).expect("it is active");
    assert_eq!(row(default).name, "penlight on lua master linux-x86_64 release");
    assert_eq!(row(jit).name, "penlight on lua master linux-x86_64 jit");
    assert_eq!(row(farm.toolchains).name, "lua master linux-x86_64", "it was not put again");
    assert_eq!(row(default).hashed_target(), "linux-x86_64", "a name changes no inputs");
    assert_eq!(row(jit).hashed_target(), "linux-x86_64 jit");
    assert!(row(farm.toolchains).is_beside(row(default)) && !row(farm.toolchains).is_beside(row(jit)));

    put!(farm, tx => tx.retire_builders()).unwrap();
    assert_eq!(builder(&farm, "", None).await, default);
    let rows = ask!(farm, read => read.builders()).unwrap();
    assert_eq!(
        rows.iter().map(|row| (row.id, row.variant_name.clone())).collect::<Vec<_>>(),
        [(default, None)]
    );
    assert_eq!(ask!(farm, read => read.builder(jit)).unwrap().variant, "jit", "its history stays readable");
}

#[tokio::test]
async fn a_suite_is_given_the_name_of_its_variant() {
    let mut farm = Farm::new().await;
    let (artifact, maker) = (Sha256([7; 32]), farm.worker);
    let made = PackedToolchain { sha256: artifact, bytes: 10 };
    put!(farm, tx => tx.put_artifact(made, maker, false, AT)).unwrap();
    let suite = NewBuild { artifact: Some(artifact), ..farm.suite(1, Reason::Tip) };
    let plain = farm.queue(suite).await;
    assert_eq!(ask!(farm, read => read.plan(plain)).unwrap().recipe, Recipe::default());
    farm.suites = builder(&farm, "jit", Some("jit")).await;
    let suite = NewBuild { artifact: Some(artifact), ..farm.suite(1, Reason::Tip) };
    let build = farm.queue(suite).await;
    let plan = ask!(farm, read => read.plan(build)).unwrap();
    assert_eq!(plan.recipe.env.into_iter().collect::<Vec<_>>(), [("FARM_VARIANT".into(), "jit".into())]);
    assert_eq!(plan.builder, "penlight on lua master linux-x86_64 jit");
}

/// What is known of the cases of a breakage: of the default build, and of `jit`.
async fn known(farm: &Farm, breakage: BreakageId) -> [VariantState; 2] {
    let rows = ask!(farm, read => read.breakage_variants(&[breakage.0])).unwrap();
    let rows = &rows[&breakage.0];
    let names: Vec<&str> = rows.iter().map(|row| row.variant.as_str()).collect();
    assert_eq!(names, ["default", "jit"]);
    assert!(rows.iter().all(|row| row.project == "penlight"));
    [rows[0].state, rows[1].state]
}

/// A farm with two variants whose default build broke at change 3.
async fn broken() -> (Farm, BreakageId, BuilderId) {
    let farm = Farm::new().await;
    farm.run(1, "PP").await;
    farm.run(3, "FP").await;
    let breakage = farm.open_breakage(1, 3, &[farm.case('a').await]).await;
    let none = ask!(farm, read => read.breakage_variants(&[breakage.0])).unwrap();
    assert!(none.is_empty(), "there is nothing to tell apart: {none:?}");
    builder(&farm, "", Some("default")).await;
    let jit = builder(&farm, "jit", Some("jit")).await;
    (farm, breakage, jit)
}

#[tokio::test]
async fn another_variant_is_good_only_if_a_build_at_the_bad_change_or_later_shows_it() {
    for (runs, expected) in [
        (&[][..], Unknown),
        (&[(2, "PP")], Unknown),
        (&[(3, "PP")], Good),
        (&[(4, "PF")], Good),
        (&[(3, "FP")], Unknown),
        (&[(4, "FP"), (5, "PP")], Unknown),
    ] {
        let (mut farm, breakage, jit) = broken().await;
        farm.suites = jit;
        for (position, picture) in runs {
            let build =
                farm.queue(NewBuild { inputs: Sha256([9; 32]), ..farm.suite(*position, Reason::Tip) }).await;
            farm.tell(build, picture).await;
        }
        assert_eq!(known(&farm, breakage).await, [Bad, expected], "{runs:?}");
    }
}

#[tokio::test]
async fn another_variant_is_not_good_while_a_breakage_there_may_have_the_same_culprit() {
    let (mut farm, breakage, jit) = broken().await;
    let default = farm.suites;
    farm.suites = jit;
    let build = farm.queue(farm.suite(4, Reason::Tip)).await;
    farm.tell(build, "PP").await;
    assert_eq!(known(&farm, breakage).await, [Bad, Good]);
    let cases = [farm.case('b').await];
    let open = farm.open_breakage(2, 4, &cases).await;
    assert_eq!(known(&farm, breakage).await, [Bad, Unknown], "its search may end at the same change");
    let find = |farm: &Farm, id, at: usize| {
        let (culprit, parent) = (farm.change(at), farm.change(at - 1));
        let store = farm.store.clone();
        async move {
            let found = store.write(move |tx| {
                Box::pin(async move {
                    tx.record_search_result(id, BreakageState::Named, Some(culprit), Some(parent), AT).await
                })
            });
            found.await.unwrap();
        }
    };
    find(&farm, open, 4).await;
    farm.suites = default;
    find(&farm, breakage, 2).await;
    assert_eq!(known(&farm, breakage).await, [Bad, Good], "another change did that");
    farm.suites = jit;
    let same = farm.open_breakage(1, 2, &cases).await;
    find(&farm, same, 2).await;
    assert_eq!(known(&farm, breakage).await, [Bad, Unknown]);
}
