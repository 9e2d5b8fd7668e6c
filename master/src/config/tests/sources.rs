//! What a project's source may be, and projects that are nothing but a source.

use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn source(name: &str, head: &str, recipe: &str) -> String {
    format!(
        "[project]\nname = \"{name}\"\ntrunk = \"lua\"\ngit = \"https://example.org/{name}.git\"\ntag = \"v1\"\nsource_only = true\n{head}\n{recipe}"
    )
}

fn suite(name: &str, head: &str) -> String {
    format!(
        "[project]\nname = \"{name}\"\ntrunk = \"lua\"\ngit = \"https://example.org/{name}.git\"\nfollow = \"main\"\n{head}\n\
         [[recipe.step]]\nname = \"test\"\nkind = \"test\"\nrun = \"true\"\n"
    )
}

fn of_projects(projects: &[(&str, &str)]) -> Result<Config, ConfigProblems> {
    let paths: Vec<String> = projects.iter().map(|(name, _)| format!("projects/{name}.toml")).collect();
    let files: Vec<(&str, &str)> =
        paths.iter().zip(projects).map(|(path, (_, text))| (path.as_str(), *text)).collect();
    parsed_files(FARM, &files)
}

#[test]
#[rustfmt::skip]
fn the_keys_of_a_source_are_checked() {
    check_all(&[
        ("tag = \"v1.3\"", &format!("commit = \"{COMMIT}\""), "valid"),
        ("tag = \"v1.3\"", &format!("commit = \"{}\"", COMMIT.to_uppercase()), "valid"),
        ("tag = \"v1.3\"", "commit = \"0123456\"", "projects/say.toml:5: project.commit: expected a full commit id of 40 hexadecimal digits, found `0123456`"),
        ("tag = \"v1.3\"", &format!("tag = \"v1.3\"\ncommit = \"{COMMIT}\""), "projects/say.toml:6: project.commit: `tag` is given, too; expected one of `follow = \"BRANCH\"`, `follow = \"newest-tag\"`, `tag = \"TAG\"`, `commit = \"ID\"` or `latest = \"COMMAND\"`"),
        ("tag = \"v1.3\"", "tag = \"v1.3\"\nsubmodules = true\nversion = \"git-describe\"", "valid"),
        ("tag = \"v1.3\"", "tag = \"v1.3\"\nversion = \"1.3\"", "projects/say.toml:6: project.version: expected \"git-describe\", found `1.3`"),
        ("tag = \"v1.3\"", "tag = \"v1.3\"\nsubmodules = 1", "projects/say.toml:6: project.submodules: expected true or false, found an integer"),
        ("git = \"say\"\ntag = \"v1.3\"", "latest = \"echo 1\"\nsubmodules = true", "projects/penlight.toml:7: project.needs: `say` has no git repository; expected a project that has one
projects/say.toml:5: project.submodules: `latest` is given, too; expected a project with a git repository"),
        ("tag = \"v1.3\"", "tag = \"v1.3\"\nsource_only = true", "projects/say.toml:8: recipe.steps.kind: a source-only project has no suite; expected \"fetch\", \"compile\" or \"install\""),
        ("tag = \"v1.3\"", "tag = \"v1.3\"\nsource_only = true\ncanary = \"must-pass\"\nversion = \"git-describe\"", "projects/say.toml:7: project.canary: a source-only project has no suite
projects/say.toml:8: project.version: a source-only project has no suite; expected it in the projects that need it
projects/say.toml:10: recipe.steps.kind: a source-only project has no suite; expected \"fetch\", \"compile\" or \"install\""),
        ("steps = [{", "step = []\nsteps = [{", "projects/say.toml:7: recipe.step: `steps` is given, too; expected one of the two"),
    ]);
}

#[test]
fn how_a_source_is_checked_out_is_part_of_the_recipe() {
    let say = SAY.replace("tag = \"v1.3\"", "tag = \"v1.3\"\nsubmodules = true\nversion = \"git-describe\"");
    let plain = valid().projects[1].recipe.clone();
    let config = parsed(FARM, PENLIGHT, &say).unwrap_or_else(|problems| panic!("{problems}"));
    let checkout = &config.projects[1].recipe.checkout;
    assert!(checkout.submodules && checkout.describe, "{checkout:?}");
    let hash = domain::project_inputs::inputs_hash::recipe;
    assert_ne!(hash(&config.projects[1].recipe), hash(&plain));
    // A recipe that asks for nothing has the hash that it always had.
    assert!(!domain::project_inputs::inputs_hash::recipe_json(&plain).contains("checkout"));
}

#[test]
fn those_that_need_a_source_run_its_steps_and_want_what_it_wants() {
    let build = "[recipe]\nsteps = [{ name = \"build\", kind = \"compile\", run = \"make\" }]";
    let busted = source("busted-src", "needs = [\"say-src\"]\nwants = [\"cmake\"]\nsubmodules = true", build);
    let say_src = source("say-src", "needs = [\"busted-src\"]", "");
    let say = suite("say", "needs = [\"busted-src\"]\nwants = [\"x11\"]");
    let config = of_projects(&[("busted-src", &busted), ("say-src", &say_src), ("say", &say)]);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let say = config.projects.iter().find(|project| project.name == "say").unwrap();
    let steps: Vec<&str> = say.recipe.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps, ["busted-src:build", "test"]);
    assert_eq!(say.wants, ["x11", "cmake"]);
    assert!(say.recipe.checkout.submodules_of_needs.contains("busted-src"));
    assert_eq!(config.projects.iter().filter(|project| project.source_only).count(), 2);
}

#[test]
fn a_circle_with_a_suite_is_reported_with_its_cure() {
    let say = suite("say", "needs = [\"busted\"]");
    let busted = source("busted", "needs = [\"say\"]", "");
    let problems = of_projects(&[("busted", &busted), ("say", &say)]).unwrap_err().to_string();
    assert_eq!(
        problems,
        "projects/say.toml:6: project.needs: a circle: `say` needs `busted`, which needs `say`; only projects with `source_only = \
         true` may be a circle, so register the source of one of them once more by itself"
    );
}

#[test]
fn the_steps_of_needs_are_bounded_with_the_projects_own() {
    let steps: String = (0..40)
        .map(|n| format!("[[recipe.step]]\nname = \"s{n}\"\nkind = \"compile\"\nrun = \"true\"\n"))
        .collect();
    let (one, two) = (source("one", "", &steps), source("two", "", &steps));
    let app = suite("app", "needs = [\"one\", \"two\"]");
    let problems = of_projects(&[("one", &one), ("two", &two), ("app", &app)]).unwrap_err().to_string();
    assert_eq!(
        problems,
        "projects/app.toml:2: project.name: with the steps of the projects that it needs: expected 1 to 64 steps, found 81"
    );
}

proptest! {
    /// However many projects need each other, and whether they are in a circle or not: the check ends soon.
    #[test]
    fn a_circle_is_found_exactly_where_a_suite_needs_itself(
        edges in prop::collection::vec((0..6_usize, 0..6_usize), 0..12), sources in 0..64_u32,
    ) {
        let is_source = |n: usize| sources >> n & 1 == 1;
        let texts: Vec<(String, String)> = (0..6).map(|n| {
            let mut needs: Vec<String> =
                edges.iter().filter(|(a, b)| *a == n && a != b).map(|(_, b)| format!("\"p{b}\"")).collect();
            needs.sort();
            needs.dedup();
            let head = format!("needs = [{}]", needs.join(", "));
            let name = format!("p{n}");
            let text = if is_source(n) { source(&name, &head, "") } else { suite(&name, &head) };
            (name, text)
        }).collect();
        let reaches = |from: usize, to: usize| {
            let (mut open, mut seen) = (vec![from], [false; 6]);
            while let Some(at) = open.pop() {
                for (_, next) in edges.iter().filter(|(a, b)| *a == at && a != b) {
                    if !std::mem::replace(&mut seen[*next], true) {
                        open.push(*next);
                    }
                }
            }
            seen[to]
        };
        let expected = (0..6).any(|n| !is_source(n) && reaches(n, n));
        let projects: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let found = of_projects(&projects).err().map(|problems| problems.to_string());
        prop_assert_eq!(found.is_some(), expected, "{:?}", found);
    }
}

#[test]
fn a_cache_of_a_source_is_declared_where_its_steps_run() {
    let build =
        "[recipe]\nsteps = [{ name = \"get\", kind = \"fetch\", run = \"make get\", network = true }]";
    let cache = "[[cache]]\nname = \"pip\"\npath = \"$HOME/.cache/pip/http-v2\"\nwrite = \"fetch\"";
    let say = suite("say", "needs = [\"say-src\"]");
    let with = |source_cache: &str, suite_cache: &str| {
        let source = format!("{}\n{source_cache}", source("say-src", "", build));
        of_projects(&[("say-src", &source), ("say", &format!("{say}\n{suite_cache}"))])
    };
    let problems = with(cache, "").expect_err("the source declares a cache").to_string();
    assert!(
        problems.contains("the steps of a source-only project run in the builds of those that need it"),
        "{problems}"
    );
    let config = with("", cache).unwrap_or_else(|problems| panic!("{problems}"));
    let say = config.projects.iter().find(|project| project.name == "say").unwrap();
    assert_eq!(say.caches.len(), 1);
    assert_eq!(say.recipe.steps[0].name, "say-src:get");
}
