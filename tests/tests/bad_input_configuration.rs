//! Configuration errors, as the operator sees them: `check` and `serve` print the file, the line, the key and what is
//! expected, and exit with 2. The rules themselves are tested beside their code.

use trunkfarm_tests::farm::Farm;

const CONFIGURATION: i32 = 2;

fn farm() -> Farm {
    let farm = Farm::create();
    farm.project("polite", "echo 1..1; echo ok 1\n");
    farm
}

/// Asserts that both commands print this line and no other.
fn assert_reports(farm: &Farm, expected: &str) {
    for command in ["check", "serve"] {
        let output = farm.run_master_command(&[command, "farm.toml"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.trim_end(), expected, "{command}");
        assert_eq!(output.status.code(), Some(CONFIGURATION), "{command}");
    }
    assert!(!farm.path("data").exists(), "nothing was begun");
}

#[test]
fn the_examples_are_valid() {
    let farm = Farm::create();
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for name in ["cpython", "lua/farm"] {
        let file = examples.join(name).join("farm.toml");
        let output = farm.run_master_command(&["check", file.to_str().unwrap()]);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_valid_configuration_is_reported_as_valid() {
    let farm = farm();
    let checked = || {
        let output = farm.run_master_command(&["check", "farm.toml"]);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        checked(),
        "farm.toml: valid; trunks: 1, projects: 1\nadvice: no project of trunk lang has `canary = \"must-pass\"` or \
         `canary = \"must-fail\"`: without canaries nobody notices when the farm misses failures there\n"
    );
    for (project, canary) in [("yes", "must-pass"), ("no", "must-fail")] {
        farm.project(project, "echo 1..1; echo ok 1\n");
        farm.replace_in(
            &format!("projects/{project}.toml"),
            "[recipe]",
            &format!("canary = \"{canary}\"\n[recipe]"),
        );
    }
    assert_eq!(checked(), "farm.toml: valid; trunks: 1, projects: 3\n");
}

#[test]
fn an_unknown_key_is_named_with_its_position_and_the_known_keys() {
    let farm = farm();
    farm.replace_in("farm.toml", "poll ", "colour ");
    assert_reports(
        &farm,
        "farm.toml:15: trunk.colour: unknown key; expected one of name, git, branches, base, poll, platforms, recipe, variant, cache, shared_caches",
    );
}

#[test]
fn a_misspelled_key_is_named_with_its_position_and_the_right_spelling() {
    let farm = farm();
    farm.replace_in("projects/polite.toml", "contact ", "contacts");
    assert_reports(&farm, "projects/polite.toml:6: project.contacts: unknown key; did you mean `contact`?");
}

#[test]
fn a_name_that_two_projects_share_is_named_with_both_positions() {
    let farm = farm();
    farm.project("rude", "echo 1..1; echo ok 1\n");
    farm.replace_in("projects/rude.toml", "\"rude\"", "\"polite\"");
    assert_reports(
        &farm,
        "projects/rude.toml:2: project.name: another project is already named `polite`, at projects/polite.toml:2",
    );
}

#[test]
fn a_project_without_a_recipe_is_reported() {
    let farm = farm();
    let text = std::fs::read_to_string(farm.path("projects/polite.toml")).unwrap();
    farm.write("projects/polite.toml", text.split("[recipe]").next().unwrap());
    assert_reports(
        &farm,
        "projects/polite.toml:1: recipe: missing; expected a table [recipe] with its steps",
    );
}

#[test]
fn a_wrong_url_is_named_with_its_position_and_what_is_expected() {
    let farm = farm();
    let trunk = farm.path("trunk").display().to_string();
    farm.replace_in("farm.toml", &trunk, "ftp://example.org/lang.git");
    assert_reports(
        &farm,
        "farm.toml:12: trunk.git: expected a git URL such as \"https://example.org/lua.git\" (http, https, git, file), \
         or the path of a repository, found `ftp://example.org/lang.git`: this transport is not supported",
    );
}

#[test]
fn a_missing_file_is_reported_in_one_line() {
    let farm = farm();
    std::fs::remove_file(farm.path("farm.toml")).unwrap();
    for command in ["check", "serve"] {
        let output = farm.run_master_command(&[command, "farm.toml"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with("farm.toml: ") && said.trim_end().lines().count() == 1, "{said}");
        assert_eq!(output.status.code(), Some(CONFIGURATION));
    }
}
