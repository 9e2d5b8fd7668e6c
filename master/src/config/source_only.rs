//! Gives the projects that need source-only ones their steps.

use std::collections::BTreeMap;

use domain::project_inputs::source_only::{NeededProject, closure, composed};
use protocol::Recipe;

use super::problem::ConfigProblem;
use super::project::Registration;
use super::recipe::too_large;

/// Puts the steps of the source-only projects that a project needs before its own, and has it want what they want. All needs are
/// known to exist.
pub(super) fn compose(registrations: &mut [Registration], problems: &mut Vec<ConfigProblem>) {
    let projects = || registrations.iter().filter_map(|it| it.project.as_ref());
    if !projects().any(|project| project.source_only) {
        return;
    }
    let registered: BTreeMap<&str, NeededProject<'_>> = projects()
        .map(|project| {
            let steps = project.source_only.then_some(&project.recipe);
            (project.name.as_str(), NeededProject { needs: &project.needs, steps })
        })
        .collect();
    let wants: BTreeMap<&str, &[String]> =
        projects().map(|project| (project.name.as_str(), project.wants.as_slice())).collect();
    let with_needs = registrations.iter().map(|registration| {
        let project = registration
            .project
            .as_ref()
            .filter(|project| !project.source_only && !project.needs.is_empty())?;
        let needed: Vec<(&str, &Recipe)> = closure(&project.needs, &registered)
            .into_iter()
            .filter_map(|name| Some((name, registered.get(name)?.steps?)))
            .collect();
        let mut wanted = project.wants.clone();
        for want in needed.iter().filter_map(|(name, _)| wants.get(name)).copied().flatten() {
            if !wanted.contains(want) {
                wanted.push(want.clone());
            }
        }
        Some((composed(&project.recipe, &needed), wanted))
    });
    let with_needs: Vec<Option<(Recipe, Vec<String>)>> = with_needs.collect();
    for (registration, composed) in registrations.iter_mut().zip(with_needs) {
        let (Some(project), Some((recipe, wants))) = (&mut registration.project, composed) else { continue };
        if let (Some(problem), Some(name)) = (too_large(&recipe), &registration.name) {
            problems.push(
                name.location.problem(format!("with the steps of the projects that it needs: {problem}")),
            );
        }
        (project.recipe, project.wants) = (recipe, wants);
    }
}
