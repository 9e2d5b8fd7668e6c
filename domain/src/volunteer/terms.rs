//! Whether a worker's owner allows a build.

use protocol::{Recipe, WorkerTerms};

/// What the terms of a worker are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedBuild<'a> {
    /// The trunk of the build.
    pub trunk: &'a str,
    /// The project of a suite.
    pub project: Option<&'a str>,
    /// What it runs.
    pub recipe: &'a Recipe,
}

/// Why the owner does not allow a build, in words that follow "its owner"; none where the owner does.
pub fn objection(terms: &WorkerTerms, build: WantedBuild<'_>) -> Option<String> {
    if !terms.trunks.allows(build.trunk) {
        return Some(format!("does not allow the trunk {}", build.trunk));
    }
    if let Some(project) = build.project.filter(|project| !terms.projects.allows(project)) {
        return Some(format!("does not allow the project {project}"));
    }
    if terms.no_network && build.recipe.steps.iter().any(|step| step.network) {
        return Some("allows no network, which a step asks for".to_string());
    }
    let wanted = build.recipe.limits.memory_bytes;
    terms.memory_bytes.filter(|most| wanted > *most).map(|most| {
        format!("allows {} MiB of memory, and the recipe asks for {} MiB", most >> 20, wanted >> 20)
    })
}

/// Terms as the farm keeps them: bounded, whatever a worker sends.
pub fn bounded(mut terms: WorkerTerms) -> WorkerTerms {
    const MAX_NAMES: usize = 100;
    const MAX_NAME_BYTES: usize = 200;
    for names in [
        &mut terms.projects.only,
        &mut terms.projects.refused,
        &mut terms.trunks.only,
        &mut terms.trunks.refused,
    ] {
        let was_empty = names.is_empty();
        names.retain(|name| name.len() <= MAX_NAME_BYTES);
        names.truncate(MAX_NAMES);
        // A list of which nothing can be kept must not become one that allows everything.
        if names.is_empty() && !was_empty {
            names.push(String::new());
        }
    }
    terms
}

/// The terms in words, for a page: `only the projects a, b; no network`. Empty where everything is allowed.
pub fn sentence(terms: &WorkerTerms) -> String {
    let mut parts = Vec::new();
    for (choice, what) in [(&terms.projects, "projects"), (&terms.trunks, "trunks")] {
        if !choice.only.is_empty() {
            parts.push(format!("only the {what} {}", choice.only.join(", ")));
        }
        if !choice.refused.is_empty() {
            parts.push(format!("not the {what} {}", choice.refused.join(", ")));
        }
    }
    if terms.no_network {
        parts.push("no network in steps".to_string());
    }
    parts.extend(terms.memory_bytes.map(|most| format!("at most {} MiB of memory", most >> 20)));
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use protocol::{Choice, RecipeStep, StepKind};

    use super::*;

    fn recipe(network: bool) -> Recipe {
        let step: RecipeStep = serde_json::from_value(serde_json::json!({
            "name": "test", "kind": StepKind::Test, "run": "make", "network": network
        }))
        .unwrap();
        Recipe { steps: vec![step], ..Recipe::default() }
    }

    fn choice(only: &[&str], refused: &[&str]) -> Choice {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Choice { only: names(only), refused: names(refused) }
    }

    #[test]
    fn each_term_refuses_what_it_is_about_and_says_so() {
        let free = WorkerTerms::default();
        let of = |terms: &WorkerTerms, project, network| {
            let recipe = recipe(network);
            objection(terms, WantedBuild { trunk: "lua", project, recipe: &recipe }).unwrap_or_default()
        };
        assert_eq!(of(&free, Some("lpeg"), true), "");
        let only = WorkerTerms { projects: choice(&["lpeg"], &[]), ..free.clone() };
        assert_eq!(of(&only, Some("lpeg"), true), "");
        assert_eq!(of(&only, None, true), "", "a toolchain is of no project");
        assert_eq!(of(&only, Some("say"), true), "does not allow the project say");
        let refused = WorkerTerms { trunks: choice(&[], &["lua"]), ..free.clone() };
        assert_eq!(of(&refused, None, false), "does not allow the trunk lua");
        let offline = WorkerTerms { no_network: true, ..free.clone() };
        assert_eq!(of(&offline, None, false), "");
        assert_eq!(of(&offline, None, true), "allows no network, which a step asks for");
        let small = WorkerTerms { memory_bytes: Some(1 << 30), ..free };
        assert_eq!(of(&small, None, false), "allows 1024 MiB of memory, and the recipe asks for 4096 MiB");
        assert_eq!(sentence(&small), "at most 1024 MiB of memory");
        assert_eq!(sentence(&only), "only the projects lpeg");
    }

    #[test]
    fn terms_are_bounded_and_never_become_laxer() {
        let many = choice(&vec!["x"; 1000], &[]);
        assert_eq!(
            bounded(WorkerTerms { projects: many, ..WorkerTerms::default() }).projects.only.len(),
            100
        );
        let long = "x".repeat(1000);
        let terms = bounded(WorkerTerms { projects: choice(&[&long], &[]), ..WorkerTerms::default() });
        assert!(!terms.projects.allows("lpeg"));
    }
}
