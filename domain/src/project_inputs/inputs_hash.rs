//! The inputs of a build as one hash: two builds with equal inputs must have equal results, but for noise.
//!
//! The hash is SHA-256 over lines `NAME LENGTH\nVALUE\n`, in the order below; the length keeps values apart.
//! If this order changes, or a name is added, no earlier hash matches any longer: do it only with a new scheme line.

use protocol::{Recipe, Sha256};
use sha2::Digest;

/// The hash of a toolchain build's inputs. `environment` is what counts of its maker's environment, if it is known.
pub fn toolchain(change: &str, recipe: &Recipe, environment: Option<&[String]>, platform: &str) -> Sha256 {
    let recipe = recipe_json(recipe);
    let Some(environment) = environment else {
        return hash(&[
            ("scheme", "toolchain 1"),
            ("change", change),
            ("recipe", &recipe),
            ("platform", platform),
        ]);
    };
    hash(&[
        ("scheme", "toolchain 2"),
        ("change", change),
        ("recipe", &recipe),
        ("environment", &environment.join("\n")),
        ("platform", platform),
    ])
}

/// The inputs of a suite build that are the project's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteInputs<'a> {
    /// The project's revision.
    pub revision: &'a str,
    /// The hash of its lock, if it has one.
    pub lock: Option<Sha256>,
    /// Its recipe.
    pub recipe: &'a Recipe,
}

/// The hash of a suite build's inputs; `needs` are the names and revisions of the registered projects that it needs.
pub fn suite(
    artifact: &Sha256,
    project_inputs: &SuiteInputs,
    needs: &[(String, String)],
    platform: &str,
) -> Sha256 {
    let lock = project_inputs.lock.map(|lock| lock.to_string()).unwrap_or_default();
    let needs: String = needs.iter().map(|(name, revision)| format!("{name} {revision}\n")).collect();
    hash(&[
        ("scheme", "suite 1"),
        ("artifact", &artifact.to_string()),
        ("revision", project_inputs.revision),
        ("lock", &lock),
        ("recipe", &recipe_json(project_inputs.recipe)),
        ("needs", &needs),
        ("platform", platform),
    ])
}

/// The hash of a recipe: the same commands and limits are the same recipe.
pub fn recipe(recipe: &Recipe) -> Sha256 {
    Sha256(sha2::Sha256::digest(recipe_json(recipe)).into())
}

/// The one text form of a recipe, which is hashed and stored.
pub fn recipe_json(recipe: &Recipe) -> String {
    serde_json::to_string(recipe).expect("a recipe has string keys and no failing serializer")
}

fn hash(fields: &[(&str, &str)]) -> Sha256 {
    let mut sha = sha2::Sha256::new();
    for (name, value) in fields {
        sha.update(format!("{name} {}\n{value}\n", value.len()));
    }
    Sha256(sha.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_input_changes_the_hash() {
        let plain = Recipe::default();
        let other = Recipe { smoke: Some("true".into()), ..Recipe::default() };
        let one = Sha256([1; 32]);
        let project_inputs = |revision, lock, recipe| SuiteInputs { revision, lock, recipe };
        let hashes = [
            suite(&one, &project_inputs("r", None, &plain), &[], "p"),
            suite(&Sha256([2; 32]), &project_inputs("r", None, &plain), &[], "p"),
            suite(&one, &project_inputs("s", None, &plain), &[], "p"),
            suite(&one, &project_inputs("r", Some(one), &plain), &[], "p"),
            suite(&one, &project_inputs("r", None, &other), &[], "p"),
            suite(&one, &project_inputs("r", None, &plain), &[("say".into(), "1".into())], "p"),
            suite(&one, &project_inputs("r", None, &plain), &[], "q"),
            toolchain("r", &plain, None, "p"),
            toolchain("r", &other, None, "p"),
            toolchain("s", &plain, None, "p"),
            toolchain("r", &plain, Some(&["cc=gcc 12".into()]), "p"),
            toolchain("r", &plain, Some(&["cc=gcc 13".into()]), "p"),
        ];
        let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
        assert_eq!(distinct.len(), hashes.len());
    }

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(
            toolchain("c", &Recipe::default(), None, "linux-x86_64").to_string(),
            "7af75f7bd2e50a0b0baef468eaaa4d7bc920d37628c56e5a10a66d9986fe2fde"
        );
    }
}
