//! Families: many projects from one file.

use super::*;

const FAMILY: &str = r#"[[family]]
names = ["argparse", "inspect", "lpeg"]
[family.project]
trunk = "lua"
git = "https://example.org/{{name}}.git"
follow = "newest-tag"
contact = ["{{name}}@example.org"]
[family.recipe]
env = { ROCK = "{{name}}", MODE = "strict" }
[[family.recipe.step]]
name = "test"
kind = "test"
run = "lua test/{{name}}.lua ${HOME} '{print $1}'"
report = "tap"
[family.override.lpeg.project]
git = "https://example.org/other/lpeg"
tag = "v1"
[family.override.lpeg.recipe]
env = { MODE = "loose" }
"#;

fn of_family(family: &str, others: &[(&str, &str)]) -> Result<Config, ConfigProblems> {
    parsed_files(FARM, &[&[("projects/rocks.toml", family)], others].concat())
}

/// The problems of the family with the first text replaced by the second.
fn problems(replaced: &str, replacement: &str, others: &[(&str, &str)]) -> String {
    assert!(FAMILY.contains(replaced), "{replaced}");
    match of_family(&FAMILY.replacen(replaced, replacement, 1), others) {
        Ok(_) => "valid".to_string(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn each_name_is_a_project_of_its_own() {
    let config = of_family(FAMILY, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<&str> = config.projects.iter().map(|project| project.name.as_str()).collect();
    assert_eq!(names, ["argparse", "inspect", "lpeg"]);
    let [argparse, _, lpeg] = &config.projects[..] else { panic!("three") };
    assert_eq!(argparse.git, "https://example.org/argparse.git");
    assert_eq!(argparse.follow, Follow::NewestTag);
    assert_eq!(argparse.contacts[0].to_string(), "argparse@example.org");
    assert_eq!(argparse.recipe.steps[0].run, "lua test/argparse.lua ${HOME} '{print $1}'");
    assert_eq!(argparse.recipe.env["ROCK"], "argparse");
    // An override of one way to follow replaces the other, and a table is overridden key by key.
    assert_eq!(
        (lpeg.git.as_str(), &lpeg.follow),
        ("https://example.org/other/lpeg", &Follow::Tag("v1".into()))
    );
    assert_eq!((lpeg.recipe.env["ROCK"].as_str(), lpeg.recipe.env["MODE"].as_str()), ("lpeg", "loose"));
    assert_eq!(lpeg.recipe.steps[0].run, "lua test/lpeg.lua ${HOME} '{print $1}'");
}

#[test]
fn names_may_come_from_a_file() {
    let family =
        FAMILY.replace("names = [\"argparse\", \"inspect\", \"lpeg\"]", "names_file = \"rocks.txt\"");
    let list = "# those of the registry\nargparse\nlpeg  # C\r\n";
    let config =
        of_family(&family, &[("projects/rocks.txt", list)]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.projects.len(), 2);
    let found = |list: &str| match of_family(&family, &[("projects/rocks.txt", list)]) {
        Ok(_) => "valid".to_string(),
        Err(problems) => problems.to_string(),
    };
    assert_eq!(
        found("argparse\n\nLPeg\nlpeg\nargparse\n"),
        "projects/rocks.txt:2: an empty name; expected the name of a project, or no line\n\
         projects/rocks.txt:3: expected 1 to 64 characters of a-z, 0-9, `.`, `_`, `+` and `-`, the first a letter or digit, found `LPeg`\n\
         projects/rocks.txt:5: another project is already named `argparse`, at projects/rocks.txt:1"
    );
    assert_eq!(
        found("argparse\n"),
        "projects/rocks.toml:15: family.override.lpeg: this family has no name `lpeg`; expected one of its names"
    );
    assert_eq!(
        found("# none\n"),
        "projects/rocks.toml:2: family.names_file: `rocks.txt` has no names; expected one a line"
    );
    assert_eq!(
        of_family(&family, &[("projects/rock.txt", "lpeg\n")]).unwrap_err().to_string(),
        "projects/rocks.toml:2: family.names_file: no file is named `rocks.txt`; did you mean `rock.txt`?"
    );
}

#[test]
#[rustfmt::skip]
fn what_is_wrong_with_a_family_is_one_sentence_each() {
    let table = [
        ("\"inspect\"", "\"argparse\"", "projects/rocks.toml:2: family.names: another project is already named `argparse`, at projects/rocks.toml:2"),
        ("\"inspect\"", "\"\"", "projects/rocks.toml:2: family.names: an empty name; expected the name of a project, or no entry"),
        ("\"inspect\"", "3", "projects/rocks.toml:2: family.names: expected 1 to 64 characters of a-z, 0-9, `.`, `_`, `+` and `-`, the first a letter or digit, found an integer"),
        ("[\"argparse\", \"inspect\", \"lpeg\"]", "[]", "projects/rocks.toml:2: family.names: empty; expected at least one name"),
        ("names = [", "nams = [", "projects/rocks.toml:1: family.names: missing; expected a list of names, or `names_file` with one name a line\nprojects/rocks.toml:2: family.nams: unknown key; did you mean `names`?"),
        ("{{name}}.git", "{{nmae}}.git", "projects/rocks.toml:5: family.project: no placeholder is named `nmae`; expected `{{name}}`"),
        ("env = { MODE = \"loose\" }", "env = { MODE = \"{{mode}}\" }", "projects/rocks.toml:19: family.override.lpeg: no placeholder is named `mode`; expected `{{name}}`"),
        ("override.lpeg.project", "override.lpge.project", "projects/rocks.toml:15: family.override.lpge: this family has no name `lpge`; did you mean `lpeg`?"),
        ("tag = \"v1\"", "tga = \"v1\"", "projects/rocks.toml:17: family.override.lpeg.project.tga: unknown key; did you mean `tag`?"),
        ("trunk = \"lua\"", "trunk = \"luaa\"", "projects/rocks.toml:4: family.project.trunk: no trunk is named `luaa`; did you mean `lua`?"),
        ("trunk = \"lua\"", "trunk = \"lua\"\nneeds = [\"inspct\"]", "projects/rocks.toml:5: family.project.needs: no project is named `inspct`; did you mean `inspect`?"),
        ("trunk = \"lua\"", "trunk = \"lua\"\nneeds = [\"lpeg\"]", "projects/rocks.toml:5: family.project.needs: a project cannot need itself"),
        ("kind = \"test\"", "kind = \"tset\"", "projects/rocks.toml:12: family.recipe.step.kind: expected one of \"fetch\", \"compile\", \"install\", \"test\", found `tset`: did you mean `test`?"),
        ("trunk = \"lua\"", "trunk = \"lua\"\nname = \"x\"", "projects/rocks.toml:5: family.project.name: unknown key; expected one of trunk, latest, follow, tag, commit, every, git, contact, needs, wants, relock, variants, canary, source_only, submodules, version"),
        ("[[family]]", "[project]\nname = \"x\"\n[[family]]", "projects/rocks.toml:1: project: `[[family]]` is given, too; expected one of the two in a file"),
        ("names = [", "names_file = \"../x.txt\"\nnames = [", "projects/rocks.toml:2: family.names_file: `names` is given, too; expected one of the two"),
    ];
    let wrong: Vec<String> = table.iter().filter_map(|(replaced, replacement, expected)| {
        let found = problems(replaced, replacement, &[]);
        (found != *expected).then(|| format!("{replacement}\n  found:    {found}\n  expected: {expected}"))
    }).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_name_of_a_family_may_be_taken_by_a_file() {
    let lpeg = SAY.replace("\"say\"\ntrunk", "\"lpeg\"\ntrunk");
    assert_eq!(
        problems("names", "names", &[("projects/z.toml", &lpeg)]),
        "projects/z.toml:2: project.name: another project is already named `lpeg`, at projects/rocks.toml:2"
    );
}

/// A whole registry is one file: what it costs grows with its names, and not with their square.
#[test]
fn ten_thousand_names_are_read_and_one_more_is_refused() {
    let names = |count: usize| (0..count).map(|n| format!("rock-{n}\n")).collect::<String>();
    let family = FAMILY.split("[family.override.lpeg.project]").next().unwrap();
    let family = family
        .replace("names = [\"argparse\", \"inspect\", \"lpeg\"]", "names_file = \"rocks.txt\"")
        .replace("trunk = \"lua\"", "trunk = \"lua\"\nneeds = [\"say\"]");
    let read =
        |count| of_family(&family, &[("projects/say.toml", SAY), ("projects/rocks.txt", &names(count))]);
    let config = read(9_999).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.projects.len(), 10_000);
    assert_eq!(
        read(10_000).unwrap_err().to_string(),
        "projects/say.toml:2: project.name: expected at most 10000 projects, found 10001"
    );
}

proptest! {
    #[test]
    fn any_damaged_family_is_valid_or_has_problems(
        at in 0..FAMILY.len(), length in 0..40_usize, text in "[\\PC\\n]{0,20}|[\\[\\]{}=\",.0-9a-z]{0,8}", list in "\\PC{0,40}",
    ) {
        let mut damaged = FAMILY.to_string();
        damaged.replace_range(at..(at + length).min(FAMILY.len()), &text);
        if let Err(problems) = of_family(&damaged, &[("projects/rocks.txt", &list)]) {
            prop_assert!(!problems.0.is_empty());
            prop_assert!(problems.0.iter().all(|problem| !problem.message.contains(char::is_control)), "{problems}");
        }
    }

    /// A family is a shorthand: each of its projects is what a file of its own would be.
    #[test]
    fn a_family_is_the_same_as_a_file_for_each_name(names in prop::collection::btree_set("[a-z0-9][a-z0-9+-]{0,12}", 1..6)) {
        let list: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let family = FAMILY.split("[family.override").next().unwrap()
            .replace("[\"argparse\", \"inspect\", \"lpeg\"]", &format!("[{}]", list.join(", ")));
        let single = |name: &str| {
            let text = family.lines().filter(|line| !line.starts_with("[[family]]") && !line.starts_with("names"));
            let text: Vec<String> = text.map(|line| line.replace("family.", "").replace("{{name}}", name)).collect();
            text.join("\n").replace("[project]", &format!("[project]\nname = \"{name}\""))
        };
        let texts: Vec<(String, String)> = names.iter().map(|name| (format!("projects/{name}.toml"), single(name))).collect();
        let texts: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let of_files = parsed_files(FARM, &texts).unwrap_or_else(|problems| panic!("{problems}"));
        let of_family = of_family(&family, &[]).unwrap_or_else(|problems| panic!("{problems}"));
        prop_assert_eq!(of_files.projects, of_family.projects);
    }
}
