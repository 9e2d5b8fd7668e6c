//! Builds that are asked for some cases only.

use domain::culprit::Purpose;
use domain::search::RunScope;
use domain::search::selection::Disagreement;

use super::*;

#[tokio::test]
async fn a_selected_run_names_its_cases_and_is_told_apart_among_the_evidence() {
    let farm = Farm::new().await;
    farm.run(1, "PPP").await;
    farm.run(3, "FPP").await;
    let case = farm.case('a').await;
    let breakage = farm.open_breakage(1, 3, &[case]).await;
    let probe = farm.queue(NewBuild { breakage: Some(breakage), ..farm.suite(2, Reason::Probe) }).await;
    assert_eq!(ask!(farm, read => read.selected_cases(probe)).unwrap(), None);
    let cases = BTreeSet::from([case]);
    farm.store
        .write(move |tx| {
            Box::pin(async move {
                tx.put_probe(probe, breakage, Purpose::Divide, 0.5).await?;
                tx.put_selected_run(probe, &cases).await
            })
        })
        .await
        .unwrap();
    let names = ask!(farm, read => read.selected_cases(probe)).unwrap();
    assert_eq!(names, Some(BTreeSet::from(["a".to_string()])));
    assert_eq!(ask!(farm, read => read.whole_cases(probe)).unwrap(), 3);
    farm.tell(probe, "F~").await;
    let changes = farm.changes.clone();
    let scopes = async |farm: &Farm| {
        let breakage = ask!(farm, read => read.breakage(breakage)).unwrap();
        let evidence = ask!(farm, read => read.evidence(&breakage, &changes)).unwrap();
        evidence.into_iter().map(|run| (run.build == probe, run.scope)).collect::<Vec<_>>()
    };
    let whole = (false, RunScope::Whole);
    assert_eq!(scopes(&farm).await, [whole, whole, (true, RunScope::Selected)]);
    put!(farm, tx => tx.mark_selection_ignored(probe)).unwrap();
    assert_eq!(scopes(&farm).await, [whole, whole, (true, RunScope::Ignored)]);
}

#[tokio::test]
async fn selection_is_withdrawn_once_for_a_project_and_its_recipe() {
    let farm = Farm::new().await;
    farm.run(1, "P").await;
    let breakage = farm.open_breakage(1, 2, &[farm.case('a').await]).await;
    let (project, recipe) = (farm.project, farm.recipe);
    let withdrawn =
        async |farm: &Farm| ask!(farm, read => read.withdrawn_selection(project, recipe)).unwrap();
    assert_eq!(withdrawn(&farm).await, None);
    for why in [Disagreement::PassesAlone, Disagreement::Ignored] {
        put!(farm, tx => tx.withdraw_selection((project, recipe), breakage, why, AT)).unwrap();
        assert_eq!(withdrawn(&farm).await, Some(Disagreement::PassesAlone), "the first reason stands");
    }
    let last = ask!(farm, read => read.last_withdrawal(project)).unwrap();
    assert_eq!(last, Some((AT, Disagreement::PassesAlone, breakage)));
    let other = Sha256([9; 32]);
    assert_eq!(ask!(farm, read => read.withdrawn_selection(project, other)).unwrap(), None);
    let page = ask!(farm, read => read.project_page("penlight")).unwrap();
    assert_eq!(page.withdrawn, last);
}
