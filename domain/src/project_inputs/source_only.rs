//! Projects that are registered for their source alone. They have no suite, so nothing of theirs waits for anything: they may need
//! each other in a circle, and whoever needs one of them runs its steps.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Recipe, RecipeStep};

/// A registered project, as those see it that need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeededProject<'a> {
    /// The projects that it needs itself.
    pub needs: &'a [String],
    /// The recipe of a source-only project; none of one that has a suite, whose steps are its own.
    pub steps: Option<&'a Recipe>,
}

/// All projects that one with these needs gets, by name. Each comes after those that it needs itself; in a circle, after as many of
/// them as possible. Names that are not registered are left out.
pub fn closure<'a>(needs: &'a [String], registered: &BTreeMap<&'a str, NeededProject<'a>>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    let mut order = Vec::new();
    // A project stays on the stack below its needs, and is taken when they are done.
    let mut open: Vec<(&str, bool)> = needs.iter().rev().map(|name| (name.as_str(), false)).collect();
    while let Some((name, are_needs_done)) = open.pop() {
        if are_needs_done {
            order.push(name);
        } else if let Some(project) = registered.get(name)
            && seen.insert(name)
        {
            open.push((name, true));
            open.extend(project.needs.iter().rev().map(|need| (need.as_str(), false)));
        }
    }
    order
}

/// A project's recipe with the steps of the source-only projects that it needs, which come first. `needed` is a [`closure`].
pub fn composed(recipe: &Recipe, needed: &[(&str, &Recipe)]) -> Recipe {
    let mut all = recipe.clone();
    let steps = needed.iter().flat_map(|(name, need)| {
        need.steps.iter().map(move |step| RecipeStep {
            name: format!("{name}:{}", step.name),
            run: within_copy(name, need, &step.run),
            time_ms: Some(step.time_ms.unwrap_or(need.limits.time_ms)),
            silence_ms: Some(step.silence_ms.unwrap_or(need.limits.silence_ms)),
            ..step.clone()
        })
    });
    all.steps = steps.chain(recipe.steps.iter().cloned()).collect();
    let with_submodules = needed.iter().filter(|(_, need)| need.checkout.submodules);
    all.checkout.submodules_of_needs = with_submodules.map(|(name, _)| name.to_string()).collect();
    all
}

/// The command, run in a copy of the source: the source itself is read-only.
fn within_copy(name: &str, need: &Recipe, run: &str) -> String {
    let mut script = format!(
        "FARM_NEED=\"$HOME/needs/{name}\"; export FARM_NEED\n\
         [ -d \"$FARM_NEED\" ] || {{ mkdir -p \"$HOME/needs\" && cp -R \"$FARM_NEEDS/{name}\" \"$FARM_NEED.part\" &&\n\
         \u{20} chmod -R u+w \"$FARM_NEED.part\" && mv \"$FARM_NEED.part\" \"$FARM_NEED\"; }} || exit 1\n\
         cd \"$FARM_NEED\" || exit 1\n"
    );
    for (variable, value) in &need.env {
        script += &format!("export {variable}='{}'\n", value.replace('\'', r"'\''"));
    }
    script + run
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::{Checkout, Limits, StepKind};

    use super::*;

    fn step(name: &str, run: &str) -> RecipeStep {
        RecipeStep {
            name: name.into(),
            kind: StepKind::Compile,
            run: run.into(),
            network: false,
            report: None,
            patterns: None,
            time_ms: None,
            silence_ms: None,
        }
    }

    /// `a>b,c b>a`: who needs whom.
    fn graph(text: &str) -> BTreeMap<String, Vec<String>> {
        let needs =
            |names: &str| names.split(',').filter(|name| !name.is_empty()).map(str::to_string).collect();
        text.split_whitespace()
            .map(|word| word.split_once('>').unwrap_or((word, "")))
            .map(|(name, names)| (name.to_string(), needs(names)))
            .collect()
    }

    fn order(of: &str, text: &str) -> String {
        let graph = graph(text);
        let registered =
            graph.iter().map(|(name, needs)| (name.as_str(), NeededProject { needs, steps: None })).collect();
        closure(&graph[of], &registered).join(" ")
    }

    #[test]
    fn each_need_comes_after_its_own_needs() {
        assert_eq!(order("app", "app>web,db web>db,lua db>lua lua"), "lua db web");
        assert_eq!(order("app", "app>web,gone web"), "web");
        assert_eq!(order("app", "app"), "");
    }

    #[test]
    fn a_circle_of_sources_ends() {
        assert_eq!(
            order("say", "say>busted busted>luassert luassert>saysrc saysrc>busted"),
            "saysrc luassert busted"
        );
    }

    #[test]
    fn the_steps_of_needs_come_first_and_keep_their_own_limits_and_variables() {
        let limits = Limits { time_ms: 7, silence_ms: 5, ..Limits::default() };
        let need = Recipe {
            env: BTreeMap::from([("A".into(), "it's".into())]),
            steps: vec![step("build", "make")],
            limits,
            checkout: Checkout { submodules: true, ..Checkout::default() },
            ..Recipe::default()
        };
        let own = Recipe { steps: vec![step("test", "lua run")], ..Recipe::default() };
        let all = composed(&own, &[("say", &need)]);
        assert_eq!(
            all.steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(),
            ["say:build", "test"]
        );
        assert_eq!((all.steps[0].time_ms, all.steps[0].silence_ms), (Some(7), Some(5)));
        assert!(all.steps[0].run.ends_with("export A='it'\\''s'\nmake"), "{}", all.steps[0].run);
        assert_eq!(all.checkout.submodules_of_needs, BTreeSet::from(["say".to_string()]));
        assert_eq!((&all.steps[1], all.limits), (&own.steps[0], own.limits));
        assert_eq!(composed(&own, &[]), own);
    }

    proptest! {
        /// Whoever needs whom, in circles or not: all that can be reached comes once, and after its needs where no circle forbids it.
        #[test]
        fn all_that_is_needed_comes_once(edges in prop::collection::vec((0..8_usize, 0..8_usize), 0..30)) {
            let names: Vec<String> = (0..8).map(|n| format!("p{n}")).collect();
            let mut needs: Vec<Vec<String>> = vec![Vec::new(); 8];
            for (from, to) in &edges {
                needs[*from].push(names[*to].clone());
            }
            let registered: BTreeMap<&str, NeededProject> = names.iter().map(String::as_str)
                .zip(needs.iter().map(|needs| NeededProject { needs, steps: None })).collect();
            let reach = |from: usize| {
                let mut reached = BTreeSet::new();
                let mut open = vec![from];
                while let Some(at) = open.pop() {
                    open.extend(edges.iter().filter(|(a, b)| *a == at && reached.insert(*b)).map(|(_, b)| *b));
                }
                reached
            };
            let order = closure(&needs[0], &registered);
            let at = |n: usize| order.iter().position(|name| *name == names[n]);
            let all: BTreeSet<usize> = (0..8).filter(|n| at(*n).is_some()).collect();
            prop_assert_eq!(&all, &reach(0));
            prop_assert_eq!(order.len(), all.len());
            for &(from, to) in edges.iter().filter(|(from, _)| all.contains(from)) {
                prop_assert!(at(to) < at(from) || reach(to).contains(&from), "{order:?}: {from} needs {to}");
            }
        }
    }
}
