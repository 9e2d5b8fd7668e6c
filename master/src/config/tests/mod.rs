//! The messages about an invalid configuration are part of the product, so the tests compare them word by word.

mod families;
mod on_disk;
mod sources;

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::settings::SearchConfig;
use super::*;

const FARM: &str = r#"[farm]
name = "Lua canaries"
url = "https://farm.example.org/"
listen = "127.0.0.1:8010"
data = "data"

[mail]
smtp = "starttls://mail.example.org"
user = "canary"
password_file = "smtp.password"
from = "Farm <farm@example.org>"
list = ["lua-canaries@lists.example.org"]

[search]
probe_share = 0.5
null_runs = 5

[[trunk]]
name = "lua"
git = "https://example.org/lua.git"
branches = ["master"]
base = "v5.4.0"
poll = "60s"
platforms = ["linux-x86_64"]
[trunk.recipe]
smoke = "lua -v"
env = { MYCFLAGS = "-std=c99" }
limits = { time = "10m", silence = "2m", memory = "2GiB", log = "20MiB" }
steps = [
  { name = "compile", kind = "compile", run = "make" },
  { name = "install", kind = "install", run = "make install" },
]
"#;

const PENLIGHT: &str = r#"[project]
name = "penlight"
trunk = "lua"
git = "https://example.org/Penlight.git"
follow = "master"
contact = ["maintainer@example.org"]
needs = ["say"]
wants = ["postgresql"]
[recipe]
limits = { time = "10m" }
steps = [
  { name = "test", kind = "test", run = "lua run.lua", report = "tap", silence = "1m" },
]
"#;

const SAY: &str = r#"[project]
name = "say"
trunk = "lua"
git = "say"
tag = "v1.3"
[recipe]
steps = [{ name = "test", kind = "test", run = "true" }]
"#;

fn file(path: &str, text: impl Into<Vec<u8>>) -> files::File {
    let folder = PathBuf::from("/farm").join(path).parent().unwrap().to_path_buf();
    files::File { path: PathBuf::from(path), folder, bytes: Ok(text.into()) }
}

fn parsed(farm: &str, penlight: &str, say: &str) -> Result<Config, ConfigProblems> {
    parsed_files(farm, &[("projects/penlight.toml", penlight), ("projects/say.toml", say)])
}

/// A farm with these files of projects, and of names.
fn parsed_files(farm: &str, others: &[(&str, &str)]) -> Result<Config, ConfigProblems> {
    let others = others.iter().map(|(path, text)| file(path, *text));
    let (projects, lists) = others.partition(|file| file.path.extension().is_some_and(|it| it == "toml"));
    parse(&files::Files { farm: file("farm.toml", farm), projects, lists })
}

fn valid() -> Config {
    parsed(FARM, PENLIGHT, SAY).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The problems after the first text is replaced by the second, in the first file that contains it.
fn problems_with(replaced: &str, replacement: &str) -> String {
    let texts = [FARM, PENLIGHT, SAY];
    let changed = texts.iter().position(|text| text.contains(replaced));
    let changed = changed.unwrap_or_else(|| panic!("no file has {replaced}"));
    let mut texts = texts.map(str::to_string);
    texts[changed] = texts[changed].replacen(replaced, replacement, 1);
    match parsed(&texts[0], &texts[1], &texts[2]) {
        Ok(_) => "valid".to_string(),
        Err(problems) => problems.to_string(),
    }
}

/// Each line: a text of the valid files, its replacement, and all problems that this causes.
fn check_all(table: &[(&str, &str, &str)]) {
    let wrong: Vec<_> = table
        .iter()
        .map(|(replaced, replacement, expected)| {
            (replacement, problems_with(replaced, replacement), expected)
        })
        .filter(|(_, found, expected)| found != *expected)
        .map(|(replacement, found, expected)| {
            format!("{replacement}\n  found:    {found}\n  expected: {expected}\n")
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_valid_farm_is_read_completely() {
    let config = valid();
    assert_eq!(config.url, "https://farm.example.org");
    assert_eq!(config.data, PathBuf::from("/farm/data"));
    assert_eq!(config.search, SearchConfig { probe_share: 0.5, null_runs: 5, self_check: 0.02 });
    let checked = parsed(&FARM.replace("null_runs = 5", "self_check = 0.25"), PENLIGHT, SAY);
    assert_eq!(checked.unwrap_or_else(|problems| panic!("{problems}")).search.self_check, 0.25);
    let smtp = config.mail.unwrap().smtp;
    assert_eq!((smtp.security, smtp.host.as_str(), smtp.port), (Security::StartTls, "mail.example.org", 587));
    let trunk = &config.trunks[0];
    assert_eq!(trunk.poll, Duration::from_secs(60));
    assert_eq!(trunk.recipe.limits.memory_bytes, 2 << 30);
    assert_eq!(trunk.recipe.steps.len(), 2);
    let [penlight, say] = &config.projects[..] else { panic!("two projects") };
    assert_eq!(penlight.follow, Follow::Branch("master".into()));
    assert_eq!(penlight.recipe.steps[0].silence_ms, Some(60_000));
    assert_eq!(say.follow, Follow::Tag("v1.3".into()));
    assert_eq!(say.git, "/farm/projects/say", "a path starts at its file");
}

#[test]
fn retention_is_read_within_its_bounds() {
    let retention = "[retention]\ngreen_logs = \"7d\"\nartifacts = \"1GiB\"\nfree = \"0B\"\n\n[[trunk]]";
    let config = parsed(&FARM.replacen("[[trunk]]", retention, 1), PENLIGHT, SAY).unwrap();
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!((config.retention.green_logs, config.retention.red_logs), (days(7), days(365)));
    assert_eq!((config.retention.artifacts_bytes, config.retention.free_bytes), (1 << 30, 0));
    assert_eq!((config.max_readers, config.max_workers), (2_000, 20_000));
    let long = retention.replace("7d", "99999d");
    assert_eq!(
        problems_with("[[trunk]]", &long),
        "farm.toml:19: retention.green_logs: expected 0s to 36500d, found 99999d"
    );
}

#[test]
fn caches_are_read_and_are_no_part_of_the_recipe() {
    let cache = "[[cache]]\nname = \"pip\"\npath = \"$HOME/.cache/pip\"\nwrite = \"fetch\"\n";
    let penlight = format!("{PENLIGHT}\n{cache}size = \"1GiB\"\n");
    let trunk_cache = cache.replace("[[cache]]", "[[trunk.cache]]").replace("fetch", "compile");
    let farm = format!("{}\n{trunk_cache}", FARM.replacen("base ", "shared_caches = [\"pip\"]\nbase ", 1));
    let config = parsed(&farm, &penlight, SAY).unwrap_or_else(|problems| panic!("{problems}"));
    let [of_penlight] = &config.projects[0].caches[..] else { panic!("one cache") };
    assert_eq!((of_penlight.path.as_str(), of_penlight.write), (".cache/pip", protocol::StepKind::Fetch));
    assert_eq!(of_penlight.max_bytes, 1 << 30);
    let trunk = &config.trunks[0];
    assert_eq!((trunk.caches[0].write, trunk.caches[0].max_bytes), (protocol::StepKind::Compile, 2 << 30));
    assert_eq!(trunk.shared_caches, ["pip"]);
    assert!(config.declares_caches() && !valid().declares_caches());
    assert_eq!(config.projects[0].recipe, valid().projects[0].recipe);
    assert_eq!(trunk.recipe, valid().trunks[0].recipe);
}

#[test]
fn a_cache_stays_below_the_home_folder_and_is_filled_by_steps_that_may() {
    let problem = |text: &str| {
        let penlight = format!("{PENLIGHT}\n{text}");
        let problems = parsed(FARM, &penlight, SAY).err().map(|problems| problems.to_string());
        problems.unwrap_or_default()
    };
    let cache = |path: &str, write: &str| {
        format!("[[cache]]\nname = \"pip\"\npath = \"{path}\"\nwrite = \"{write}\"\n")
    };
    assert_eq!(problem(&cache("$HOME/a", "fetch")), "");
    for path in
        ["/root/.cache", "$HOME", "$HOME/", "$HOME/../x", "$HOME/a//b", "$HOME/a/.", ".cache", "$HOME/a/"]
    {
        let found = problem(&cache(path, "fetch"));
        assert!(found.contains("cache.path: expected a folder below the home folder"), "{path}: {found}");
    }
    let found = problem(&cache("$HOME/a", "compile"));
    assert!(found.contains("only a trunk's recipe may fill a cache while it compiles"), "{found}");
    assert!(problem(&cache("$HOME/a", "test")).contains("cache.write: expected \"fetch\", found"));
    let two = |one: &str, other: &str| {
        problem(&(cache(one, "fetch") + &cache(other, "fetch").replace("pip", "other")))
    };
    for (one, other) in [("$HOME/a", "$HOME/a"), ("$HOME/a", "$HOME/a/b"), ("$HOME/a/b", "$HOME/a")] {
        assert!(two(one, other).contains("it overlaps with the cache"), "{one} {other}");
    }
    assert_eq!(two("$HOME/a", "$HOME/ab"), "");
    let twice = problem(&(cache("$HOME/a", "fetch") + &cache("$HOME/b", "fetch")));
    assert!(twice.contains("another cache is already named"), "{twice}");
}

#[test]
fn a_project_whose_source_is_in_a_registry_needs_no_repository() {
    let penlight = PENLIGHT.replace(
        "git = \"https://example.org/Penlight.git\"\nfollow = \"master\"",
        "latest = \"newest penlight\"",
    );
    let config = parsed(FARM, &penlight, SAY).unwrap_or_else(|problems| panic!("{problems}"));
    let latest = Follow::Latest { command: "newest penlight".into(), every: Duration::from_secs(3600) };
    assert_eq!((config.projects[0].git.as_str(), &config.projects[0].follow), ("", &latest));
}

#[test]
fn omitted_keys_have_their_default_values() {
    let lean = |text: &str, keys: &[&str]| {
        let kept = text.lines().filter(|line| !keys.iter().any(|key| line.starts_with(key)));
        kept.collect::<Vec<_>>().join("\n")
    };
    let farm =
        lean(FARM, &["[mail]", "smtp", "user", "password", "from", "list =", "[search]", "probe", "null"]);
    let farm = lean(&farm, &["base", "poll", "smoke", "env", "limits"]);
    let penlight = lean(PENLIGHT, &["contact", "needs", "wants"]).replace("\"master\"", "\"newest-tag\"");
    let config = parsed(&farm, &penlight, SAY).unwrap_or_else(|problems| panic!("{problems}"));
    let search = SearchConfig { probe_share: 0.3, null_runs: 20, self_check: 0.02 };
    assert_eq!((config.mail, config.search), (None, search));
    let trunk = &config.trunks[0];
    assert_eq!((trunk.poll.as_secs(), &trunk.base), (60, &None));
    assert_eq!(trunk.recipe.limits, protocol::Limits::default());
    let penlight = &config.projects[0];
    assert_eq!(penlight.follow, Follow::NewestTag);
    assert_eq!(
        penlight.recipe.limits,
        protocol::Limits { time_ms: 600_000, silence_ms: 600_000, ..Default::default() },
        "silence is never longer than the time"
    );
}

#[test]
fn all_problems_are_reported_at_once_with_their_positions() {
    let farm = FARM
        .replace("poll = ", "polll = ")
        .replace("smoke", "somke")
        .replace("127.0.0.1:8010", "localhost")
        .replace("\"install\", kind = \"install\"", "\"compile\", kind = \"instal\"");
    let penlight =
        PENLIGHT.replace("trunk = \"lua\"", "trunk = \"luaa\"").replace("run = \"lua run.lua\"", "run = 3");
    let say = SAY.replace("name = \"say\"", "name = \"penlight\"");
    insta::assert_snapshot!(parsed(&farm, &penlight, &say).unwrap_err(), @r#"
    farm.toml:4: farm.listen: expected an IP address and a port, such as "127.0.0.1:8010" or "[::]:8010", found `localhost`
    farm.toml:23: trunk.polll: unknown key; did you mean `poll`?
    farm.toml:26: trunk.recipe.somke: unknown key; did you mean `smoke`?
    farm.toml:31: trunk.recipe.steps.name: another step of this recipe is already named `compile`
    farm.toml:31: trunk.recipe.steps.kind: expected one of "fetch", "compile", "install", "test", found `instal`: did you mean `install`?
    projects/penlight.toml:3: project.trunk: no trunk is named `luaa`; did you mean `lua`?
    projects/penlight.toml:7: project.needs: no project is named `say`; expected a registered project
    projects/penlight.toml:12: recipe.steps.run: expected a command line for /bin/sh, found an integer
    projects/say.toml:2: project.name: another project is already named `penlight`, at projects/penlight.toml:2
    "#);
}

#[test]
fn a_problem_has_its_line_and_column() {
    let farm = FARM.replace("env = { MYCFLAGS", "env = { A = \"é\", B = 1, C");
    let problems = parsed(&farm, PENLIGHT, SAY).unwrap_err().0;
    assert_eq!(problems[0].at, Some(super::problem::FilePosition { line: 27, column: 22 }));
    assert_eq!(problems[0].key, "trunk.recipe.env.B");
}

#[test]
#[rustfmt::skip]
fn a_file_that_is_not_toml_is_reported_and_causes_no_problems_of_other_files() {
    check_all(&[
        ("name = \"lua\"", "name = ", "farm.toml:19: not TOML: string values must be quoted, expected literal string"),
        ("poll = \"60s\"", "poll = \"60s\"\npoll = \"61s\"", "farm.toml:24: not TOML: duplicate key: `poll`"),
        ("[search]", "[farm]", "farm.toml:14: not TOML: duplicate key: `farm`"),
        ("name = \"say\"", "name = \"say", r#"projects/say.toml:2: not TOML: invalid basic string, expected `"`"#),
    ]);
}

#[test]
#[rustfmt::skip]
fn problems_of_keys_are_reported() {
    check_all(&[
        ("poll = ", "pol = ", "farm.toml:23: trunk.pol: unknown key; did you mean `poll`?"),
        ("follow = ", "folow = ", r#"projects/penlight.toml:1: project.follow: missing; expected one of `follow = "BRANCH"`, `follow = "newest-tag"`, `tag = "TAG"`, `commit = "ID"` or `latest = "COMMAND"`
projects/penlight.toml:5: project.folow: unknown key; did you mean `follow`?"#),
        ("poll = ", "colour = ", "farm.toml:23: trunk.colour: unknown key; expected one of name, git, branches, base, poll, platforms, recipe, variant, cache, shared_caches"),
        ("poll = ", "\"\\u001b[31m\" = ", "farm.toml:23: trunk.`\\u{1b}[31m`: unknown key; expected one of name, git, branches, base, poll, platforms, recipe, variant, cache, shared_caches"),
        ("log = ", "disk = ", "farm.toml:28: trunk.recipe.limits.disk: unknown key; expected one of time, silence, memory, log"),
        ("kind = \"compile\"", "knd = \"compile\"", r#"farm.toml:30: trunk.recipe.steps.kind: missing; expected one of "fetch", "compile", "install", "test"
farm.toml:30: trunk.recipe.steps.knd: unknown key; did you mean `kind`?"#),
        ("steps = [{", "smoke = \"true\"\nsteps = [{", "projects/say.toml:7: recipe.smoke: unknown key; expected one of env, limits, steps, step, selects"),
        ("[search]", "[serch]", "farm.toml:14: serch: unknown key; did you mean `search`?"),
        ("[search]", "[keep]\ngreen_logs = \"7d\"\n\n[search]", "farm.toml:14: keep: unknown key; did you mean `retention`?"),
        ("branches = [\"master\"]", "", "farm.toml:18: trunk.branches: missing; expected a list of branches"),
        ("url = \"https://farm.example.org/\"\n", "", r#"farm.toml:1: farm.url: missing; expected the farm's own URL, such as "https://farm.example.org""#),
        ("follow = \"master\"\n", "", r#"projects/penlight.toml:1: project.follow: missing; expected one of `follow = "BRANCH"`, `follow = "newest-tag"`, `tag = "TAG"`, `commit = "ID"` or `latest = "COMMAND"`"#),
        ("tag = ", "follow = \"main\"\ntag = ", r#"projects/say.toml:6: project.tag: `follow` is given, too; expected one of `follow = "BRANCH"`, `follow = "newest-tag"`, `tag = "TAG"`, `commit = "ID"` or `latest = "COMMAND"`"#),
        ("wants = [\"postgresql\"]", "relock = \"7d\"", "valid"),
        ("wants = [\"postgresql\"]", "relock = \"2\"", "projects/penlight.toml:8: project.relock: expected a duration such as \"60s\", \"10m\", \"2h\" or \"1d\", found `2`"),
        ("wants = [\"postgresql\"]", "every = \"1d\"", "projects/penlight.toml:8: project.every: `every` belongs to `latest`; a repository is polled with its trunk"),
        ("wants = [\"postgresql\"]", "latest = \"echo 1\"", r#"projects/penlight.toml:4: project.git: `latest` is given, too; expected git with `follow` or `tag`, or `latest` alone
projects/penlight.toml:5: project.follow: `latest` is given, too; expected one of `follow = "BRANCH"`, `follow = "newest-tag"`, `tag = "TAG"`, `commit = "ID"` or `latest = "COMMAND"`"#),
        ("[[trunk]]", "[trunk]", "farm.toml:18: trunk: expected tables [[trunk]], found a table"),
    ]);
}

#[test]
fn problems_of_tables_are_reported() {
    assert_eq!(
        parsed("", PENLIGHT, SAY).unwrap_err().to_string(),
        "farm.toml:1: farm: missing; expected a table [farm] with name, url, listen and data\nfarm.toml:1: trunk: missing; expected at least one table [[trunk]]"
    );
    assert_eq!(
        parsed(FARM, PENLIGHT, "").unwrap_err().to_string(),
        "projects/say.toml:1: project: missing; expected a table [project] with name, trunk, git and follow\nprojects/say.toml:1: recipe: missing; expected a table [recipe] with its steps"
    );
    assert_eq!(
        parsed(&FARM.replace("[trunk.recipe]", "[trunk.recip]"), PENLIGHT, SAY).unwrap_err().to_string(),
        "farm.toml:18: trunk.recipe: missing; expected a table [trunk.recipe] with its steps\nfarm.toml:25: trunk.recip: unknown key; did you mean `recipe`?"
    );
}

#[test]
#[rustfmt::skip]
fn problems_of_types_are_reported() {
    check_all(&[
        ("poll = \"60s\"", "poll = 60", r#"farm.toml:23: trunk.poll: expected a duration such as "60s", "10m", "2h" or "1d", found an integer"#),
        ("branches = [\"master\"]", "branches = \"master\"", r#"farm.toml:21: trunk.branches: expected a list, each entry of it a branch's name such as "main" or "3.14", found a string"#),
        ("branches = [\"master\"]", "branches = [\"master\", 3.14]", r#"farm.toml:21: trunk.branches: expected a branch's name such as "main" or "3.14", found a float"#),
        ("branches = [\"master\"]", "branches = []", r#"farm.toml:21: trunk.branches: empty; expected at least one entry: a branch's name such as "main" or "3.14""#),
        ("branches = [\"master\"]", "branches = [\"a\", \"b\", \"a\"]", "farm.toml:21: trunk.branches: occurs twice in this list"),
        ("env = { MYCFLAGS = \"-std=c99\" }", "env = { MYCFLAGS = 1 }", "farm.toml:27: trunk.recipe.env.MYCFLAGS: expected a text (without NUL), found an integer"),
        ("env = { MYCFLAGS = \"-std=c99\" }", "env = \"A=1\"", "farm.toml:27: trunk.recipe.env: expected a table, found a string"),
        ("probe_share = 0.5", "probe_share = \"half\"", "farm.toml:15: search.probe_share: expected a share from 0.0 to 1.0, found a string"),
        ("probe_share = 0.5", "probe_share = 1.5", "farm.toml:15: search.probe_share: expected a share from 0.0 to 1.0, found `1.5`"),
        ("probe_share = 0.5", "probe_share = nan", "farm.toml:15: search.probe_share: expected a share from 0.0 to 1.0, found `nan`"),
        ("probe_share = 0.5", "probe_share = 1", "valid"),
        ("null_runs = 5", "null_runs = -1", "farm.toml:16: search.null_runs: expected a whole number from 0 to 1000, found `-1`"),
        ("null_runs = 5", "null_runs = 0x5", "valid"),
        ("null_runs = 5", "self_check = 2", "farm.toml:16: search.self_check: expected a share from 0.0 to 1.0, found `2`"),
        ("null_runs = 5", "self_check = \"all\"", "farm.toml:16: search.self_check: expected a share from 0.0 to 1.0, found a string"),
        ("null_runs = 5", "self_check = 0", "valid"),
        ("null_runs = 5", "self_chek = 0", "farm.toml:16: search.self_chek: unknown key; did you mean `self_check`?"),
        ("null_runs = 5", "null_runs = 99999999999999999999", "farm.toml:16: search.null_runs: expected a whole number from 0 to 1000, found `99999999999999999999`"),
        ("run = \"make\"", "run = \"make\", network = \"yes\"", "farm.toml:30: trunk.recipe.steps.network: expected true or false, found a string"),
        ("{ name = \"compile\", kind = \"compile\", run = \"make\" }", "\"make\"", "farm.toml:30: trunk.recipe.steps: expected a table, found a string"),
    ]);
}

#[test]
#[rustfmt::skip]
fn problems_of_patterns_are_reported() {
    check_all(&[
        (r#""tap""#, r"{ pass = '^ok (?P<case>.+)', fail = '^no (?P<case>.+)', end = '^(?P<total>\d+) run' }", "valid"),
        (r#""tap""#, "{ fail = '^no (?<case>.+)' }", "valid"),
        (r#""tap""#, "{ pass = '^ok (?P<case>.+)' }", "projects/penlight.toml:12: recipe.steps.report.fail: missing; expected a regular expression with a group `case`, such as '^FAIL (?P<case>.+)$'"),
        (r#""tap""#, "{ fail = '^no (.+)' }", "projects/penlight.toml:12: recipe.steps.report.fail: no group `case`; expected one around the name of the case: `(?P<case>...)`"),
        (r#""tap""#, "{ fail = '(?P<case>.+', skip = 's' }", "projects/penlight.toml:12: recipe.steps.report.fail: not a regular expression: unclosed group\nprojects/penlight.toml:12: recipe.steps.report.skip: no group `case`; expected one around the name of the case: `(?P<case>...)`"),
        (r#""tap""#, "{ fail = '(?P<case>.+)', pas = 'x' }", "projects/penlight.toml:12: recipe.steps.report.pas: unknown key; did you mean `pass`?"),
        (r#""tap""#, "{ fail = 3 }", "projects/penlight.toml:12: recipe.steps.report.fail: expected a regular expression with a group `case`, such as '^FAIL (?P<case>.+)$', found an integer"),
        (r#""tap""#, r#"{ fail = "" }"#, "projects/penlight.toml:12: recipe.steps.report.fail: expected a regular expression with a group `case`, such as '^FAIL (?P<case>.+)$', found ``"),
        (r#""tap""#, "3", r#"projects/penlight.toml:12: recipe.steps.report: expected a table of patterns, or one of "tap", "junit", "unittest", "pytest", "trial", "libtest", "go", "luaunit", "busted", "gtest", "minitest", "rspec", "bats", "hspec", "kyua", "phpunit", "ctest", "prove", "meson", "julia", "nose2", "tcltest", "lines", "auto", "exit", found an integer"#),
    ]);
}

#[test]
#[rustfmt::skip]
fn problems_of_durations_and_sizes_are_reported() {
    check_all(&[
        ("poll = \"60s\"", "poll = \"2h\"", "valid"),
        ("poll = \"60s\"", "poll = \"1d\"", "valid"),
        ("poll = \"60s\"", "poll = \"60\"", r#"farm.toml:23: trunk.poll: expected a duration such as "60s", "10m", "2h" or "1d", found `60`"#),
        ("poll = \"60s\"", "poll = \"1.5h\"", r#"farm.toml:23: trunk.poll: expected a duration such as "60s", "10m", "2h" or "1d", found `1.5h`"#),
        ("poll = \"60s\"", "poll = \"\"", r#"farm.toml:23: trunk.poll: expected a duration such as "60s", "10m", "2h" or "1d", found ``"#),
        ("poll = \"60s\"", "poll = \"-1s\"", r#"farm.toml:23: trunk.poll: expected a duration such as "60s", "10m", "2h" or "1d", found `-1s`"#),
        ("poll = \"60s\"", "poll = \"0s\"", "farm.toml:23: trunk.poll: expected 1s to 1d, found 0s"),
        ("poll = \"60s\"", "poll = \"2d\"", "farm.toml:23: trunk.poll: expected 1s to 1d, found 2d"),
        ("poll = \"60s\"", "poll = \"99999999999999999999d\"", r#"farm.toml:23: trunk.poll: expected a duration such as "60s", "10m", "2h" or "1d", found `99999999999999999999d`"#),
        ("poll = \"60s\"", "poll = \"9999999999999999999d\"", r#"farm.toml:23: trunk.poll: expected a duration such as "60s", "10m", "2h" or "1d", found `9999999999999999999d`"#),
        ("memory = \"2GiB\"", "memory = \"2GB\"", r#"farm.toml:28: trunk.recipe.limits.memory: expected a size such as "20MiB" or "2GiB", found `2GB`: ambiguous between 1000 and 1024"#),
        ("memory = \"2GiB\"", "memory = \"lots\"", r#"farm.toml:28: trunk.recipe.limits.memory: expected a size such as "20MiB" or "2GiB", found `lots`"#),
        ("memory = \"2GiB\"", "memory = \"1MiB\"", "farm.toml:28: trunk.recipe.limits.memory: expected 16MiB to 1TiB, found 1MiB"),
        ("log = \"20MiB\"", "log = \"2TiB\"", "farm.toml:28: trunk.recipe.limits.log: expected 4KiB to 1GiB, found 2TiB"),
        ("time = \"10m\", silence = \"2m\"", "time = \"1m\", silence = \"2m\"", "farm.toml:28: trunk.recipe.limits.silence: longer than the time limit; expected at most 1m"),
        ("silence = \"1m\"", "time = \"30s\", silence = \"1m\"", "projects/penlight.toml:12: recipe.steps.silence: longer than the time limit; expected at most 30s"),
    ]);
}

#[test]
#[rustfmt::skip]
fn problems_of_canaries_and_marks_are_reported() {
    let steps = "steps = [{ name = \"test\", kind = \"test\", run = \"true\" }]";
    let mark = |lines: &str| format!("{steps}\n[[mark]]\n{lines}");
    let whole = mark("case = \"net*\"\nis = \"flaky\"\nissue = \"https://example.org/7\"\nuntil = \"2027-01-31\"\nbranch = \"master\"\nplatform = \"linux-x86_64\"");
    let bare = mark("case = \"net*\"");
    let wrong = mark("case = \"\"\nis = \"bad\"\nissue = \"7\"\nuntil = \"2027-02-30\"\nwhy = \"so\"");
    check_all(&[
        ("tag = \"v1.3\"", "tag = \"v1.3\"\ncanary = \"must-fail\"", "valid"),
        ("tag = \"v1.3\"", "tag = \"v1.3\"\ncanary = \"yes\"", "projects/say.toml:6: project.canary: expected `must-pass` or `must-fail`, found `yes`"),
        (steps, &whole, "valid"),
        (steps, &bare, "projects/say.toml:8: mark.is: missing; expected `expected-to-fail` or `flaky`\n\
            projects/say.toml:8: mark.issue: missing; expected a link such as \"https://example.org/issues/7\" (http or https)\n\
            projects/say.toml:8: mark.until: missing; expected a day such as \"2027-01-31\""),
        (steps, &wrong, "projects/say.toml:9: mark.case: expected the name of a case, in which `*` stands for anything, found ``\n\
            projects/say.toml:10: mark.is: expected `expected-to-fail` or `flaky`, found `bad`\n\
            projects/say.toml:11: mark.issue: expected a link such as \"https://example.org/issues/7\" (http or https), found `7`\n\
            projects/say.toml:12: mark.until: expected a day such as \"2027-01-31\", found `2027-02-30`\n\
            projects/say.toml:13: mark.why: unknown key; expected one of is, case, issue, until, branch, platform, variant"),
    ]);
    let marked = parsed(FARM, PENLIGHT, &SAY.replace(steps, &whole)).unwrap();
    let [mark] = &marked.projects[1].marks[..] else { panic!("one mark") };
    assert!(mark.is_of("master", "linux-x86_64", None) && mark.speaks_of("net.get"));
}

/// What stands behind the trunk's recipe in farm.toml.
const LAST_STEP: &str = "  { name = \"install\", kind = \"install\", run = \"make install\" },\n]\n";

fn with_variants(lines: &str) -> String {
    format!("{LAST_STEP}{lines}")
}

#[test]
fn variants_are_read_and_a_project_chooses_among_them() {
    let variants = with_variants(
        "[[trunk.variant]]\nname = \"release\"\n[[trunk.variant]]\nname = \"jit\"\nargs = [\"--enable-jit\", \"CC=clang\"]\n\
         env = { MYCFLAGS = \"-O2 -g\" }\n",
    );
    let penlight = PENLIGHT.replace("wants", "variants = [\"jit\"]\nwants");
    let config = parsed(&FARM.replace(LAST_STEP, &variants), &penlight, SAY);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let builds = config.trunks[0].builds();
    let [release, jit] = &builds[..] else { panic!("two builds: {builds:?}") };
    assert_eq!((release.key.as_str(), release.name.as_deref()), ("", Some("release")));
    assert_eq!(release.recipe, valid().trunks[0].recipe, "the default build stays as it is");
    assert_eq!((jit.key.as_str(), jit.recipe.env["FARM_ARGS"].as_str()), ("jit", "--enable-jit CC=clang"));
    assert_eq!(
        (jit.recipe.env["MYCFLAGS"].as_str(), jit.recipe.env["FARM_VARIANT"].as_str()),
        ("-O2 -g", "jit")
    );
    let chosen = config.projects[0].variants.clone().expect("one is chosen");
    assert_eq!(chosen.into_iter().collect::<Vec<_>>(), ["jit"]);
    assert_eq!((&config.projects[1].variants, valid().trunks[0].builds().len()), (&None, 1));
}

#[test]
#[rustfmt::skip]
fn problems_of_variants_are_reported() {
    let variant = |lines: &str| with_variants(&format!("[[trunk.variant]]\n{lines}"));
    let jit = "name = \"jit\"\nargs = [\"-j\"]\n";
    let twice = variant(&format!("{jit}[[trunk.variant]]\n{jit}"));
    let defaults = variant("name = \"release\"\n[[trunk.variant]]\nname = \"plain\"\n");
    let arg = "farm.toml:35: trunk.variant.args: expected one word for the shell, such as \"--disable-gil\", without blanks, quotes, `\\`, `*`, `?` and `[` (a variable in `env` may have them), found";
    check_all(&[
        (LAST_STEP, &variant(jit), "valid"),
        (LAST_STEP, &variant("name = \"default\"\n"), "valid"),
        (LAST_STEP, &twice, "farm.toml:37: trunk.variant.name: another variant of this trunk is already named `jit`"),
        (LAST_STEP, &variant("name = \"Free threaded\"\n"), "farm.toml:34: trunk.variant.name: expected 1 to 64 characters of a-z, 0-9, `.`, `_`, `+` and `-`, the first a letter or digit, found `Free threaded`"),
        (LAST_STEP, &variant("args = [\"-j\"]\n"), "farm.toml:33: trunk.variant.name: missing; expected 1 to 64 characters of a-z, 0-9, `.`, `_`, `+` and `-`, the first a letter or digit"),
        (LAST_STEP, &variant("name = \"default\"\nargs = [\"-j\"]\n"), "farm.toml:34: trunk.variant.name: reserved for the build without `args` and `env`; expected another name"),
        (LAST_STEP, &defaults, "farm.toml:36: trunk.variant.name: neither this variant nor `release` has `args` or `env`, so both are the default build; expected one of them"),
        (LAST_STEP, &variant("name = \"jit\"\nargs = \"-j\"\n"), "farm.toml:35: trunk.variant.args: expected a list of words such as [\"--disable-gil\"], found a string"),
        (LAST_STEP, &variant("name = \"jit\"\nargs = [\"-j 2\"]\n"), &format!("{arg} `-j 2`")),
        (LAST_STEP, &variant("name = \"jit\"\nargs = [\"*\"]\n"), &format!("{arg} `*`")),
        (LAST_STEP, &variant("name = \"jit\"\nenv = { FARM_ARGS = \"x\" }\n"), "farm.toml:35: trunk.variant.env.FARM_ARGS: the farm sets this variable itself; expected another name"),
        (LAST_STEP, &variant("name = \"jit\"\nargs = [\"-j\"]\nsteps = []\n"), "farm.toml:36: trunk.variant.steps: unknown key; expected one of name, args, env"),
        ("tag = ", "variants = [\"jit\"]\ntag = ", "projects/say.toml:5: project.variants: no variant of trunk `lua` is named `jit`; the trunk has no [[trunk.variant]] in farm.toml"),
        ("tag = ", "variants = [\"default\"]\ntag = ", "valid"),
        ("tag = ", "variants = []\ntag = ", "projects/say.toml:5: project.variants: empty; expected at least one entry: 1 to 64 characters of a-z, 0-9, `.`, `_`, `+` and `-`, the first a letter or digit"),
    ]);
    let farm = FARM.replace(LAST_STEP, &variant(jit));
    let chosen = |name: &str| {
        let say = SAY.replace("tag = ", &format!("variants = [\"{name}\"]\ntag = "));
        parsed(&farm, PENLIGHT, &say).map(|_| ()).map_err(|problems| problems.to_string())
    };
    assert_eq!(chosen("jit"), Ok(()));
    let other = |name: &str, hint: &str| Err(format!("projects/say.toml:5: project.variants: no variant of trunk `lua` is named `{name}`; {hint}"));
    assert_eq!(chosen("jti"), other("jti", "did you mean `jit`?"));
    assert_eq!(chosen("sanitizer"), other("sanitizer", "expected one of default, jit"));
    let marked = format!("{SAY}[[mark]]\ncase = \"a\"\nis = \"flaky\"\nissue = \"https://example.org/7\"\nuntil = \"2027-01-31\"\nvariant = \"sanitizer\"\n");
    assert_eq!(
        parsed(&farm, PENLIGHT, &marked).unwrap_err().to_string(),
        "projects/say.toml:13: mark.variant: no variant of trunk `lua` is named `sanitizer`; expected one of default, jit"
    );
}

#[test]
#[rustfmt::skip]
fn problems_of_git_urls_are_reported() {
    let git = "git = \"https://example.org/lua.git\"";
    check_all(&[
        (git, "git = \"/srv/lua.git\"", "valid"),
        (git, "git = \"../lua.git\"", "valid"),
        (git, "git = \"file:///srv/lua.git\"", "valid"),
        (git, "git = \"git://localhost:9418/lua.git\"", "valid"),
        (git, "git = \"http://[::1]:80/lua\"", "valid"),
        (git, "git = \"ssh://git@example.org/lua.git\"", r#"farm.toml:20: trunk.git: ssh needs a private key on the master and on each volunteer's machine, and a farm distributes none; expected a git URL such as "https://example.org/lua.git" (http, https, git, file), or the path of a repository"#),
        (git, "git = \"git@example.org:lua.git\"", r#"farm.toml:20: trunk.git: expected a git URL such as "https://example.org/lua.git" (http, https, git, file), or the path of a repository, found `git@example.org:lua.git`: ssh needs a private key on the master and on each volunteer's machine, and a farm distributes none"#),
        (git, "git = \"https://me:secret@example.org/lua.git\"", r#"farm.toml:20: trunk.git: a git URL with a user or password would be shown on pages and sent to every worker; expected a git URL such as "https://example.org/lua.git" (http, https, git, file), or the path of a repository"#),
        (git, "git = \"ext::sh -c id\"", r#"farm.toml:20: trunk.git: expected a git URL such as "https://example.org/lua.git" (http, https, git, file), or the path of a repository, found `ext::sh -c id`: this transport is not supported"#),
        (git, "git = \"--upload-pack=id\"", r#"farm.toml:20: trunk.git: expected a git URL such as "https://example.org/lua.git" (http, https, git, file), or the path of a repository, found `--upload-pack=id`: git would take it for an option"#),
        (git, "git = \"ftp://example.org/lua.git\"", r#"farm.toml:20: trunk.git: expected a git URL such as "https://example.org/lua.git" (http, https, git, file), or the path of a repository, found `ftp://example.org/lua.git`: this transport is not supported"#),
        (git, "git = \"https://example.org\"", r#"farm.toml:20: trunk.git: expected a git URL such as "https://example.org/lua.git" (http, https, git, file), or the path of a repository, found `https://example.org`: it names a host, but no repository"#),
        (git, "git = \"https:///lua.git\"", r#"farm.toml:20: trunk.git: expected a git URL such as "https://example.org/lua.git" (http, https, git, file), or the path of a repository, found `https:///lua.git`: the name of the host is empty or invalid"#),
        (git, "git = \"https://example.org:0/lua.git\"", r#"farm.toml:20: trunk.git: expected a git URL such as "https://example.org/lua.git" (http, https, git, file), or the path of a repository, found `https://example.org:0/lua.git`: the port is not a number from 1 to 65535"#),
        (git, "git = \"https://[1.2]/lua.git\"", r#"farm.toml:20: trunk.git: expected a git URL such as "https://example.org/lua.git" (http, https, git, file), or the path of a repository, found `https://[1.2]/lua.git`: the host is not an IPv6 address"#),
        (git, "git = \"https://example.org/lua git\"", r#"farm.toml:20: trunk.git: expected a git URL such as "https://example.org/lua.git" (http, https, git, file), or the path of a repository, found `https://example.org/lua git`: a URL must not contain blanks or unusual characters"#),
        (git, "git = \"file://srv/lua.git\"", r#"farm.toml:20: trunk.git: expected a git URL such as "https://example.org/lua.git" (http, https, git, file), or the path of a repository, found `file://srv/lua.git`: a file URL has three slashes and an absolute path"#),
        (git, "git = \"\"", r#"farm.toml:20: trunk.git: expected a git URL such as "https://example.org/lua.git" (http, https, git, file), or the path of a repository, found ``"#),
    ]);
}

#[test]
#[rustfmt::skip]
fn problems_of_the_farm_and_its_mail_are_reported() {
    let smtp = "smtp = \"starttls://mail.example.org\"";
    check_all(&[
        ("name = \"Lua canaries\"", "name = \" \"", "farm.toml:2: farm.name: expected one line of 1 to 100 characters, found ` `"),
        ("url = \"https://farm.example.org/\"", "url = \"farm.example.org\"", r#"farm.toml:3: farm.url: expected the farm's own URL, such as "https://farm.example.org", found `farm.example.org`"#),
        ("url = \"https://farm.example.org/\"", "url = \"https://farm.example.org/?a\"", r#"farm.toml:3: farm.url: expected the farm's own URL, such as "https://farm.example.org", found `https://farm.example.org/?a`"#),
        ("127.0.0.1:8010", "[::]:8010", "valid"),
        ("127.0.0.1:8010", "localhost:8010", r#"farm.toml:4: farm.listen: expected an IP address and a port, such as "127.0.0.1:8010" or "[::]:8010", found `localhost:8010`"#),
        ("data = \"data\"", "data = \"\"", "farm.toml:5: farm.data: expected the path of a folder, found ``"),
        (smtp, "smtp = \"smtps://mail.example.org:465\"", "valid"),
        (smtp, "smtp = \"smtp://localhost\"", "valid"),
        (smtp, "smtp = \"smtp://mail.example.org\"", "farm.toml:8: mail.smtp: the password would cross the network unencrypted; expected smtps:// or starttls://"),
        (smtp, "smtp = \"smtps://me:secret@mail.example.org\"", r#"farm.toml:8: mail.smtp: the login belongs into `user` and `password_file`, not into the URL; expected a mail server such as "smtp://localhost:25", "smtps://mail.example.org" or "starttls://mail.example.org:587""#),
        (smtp, "smtp = \"mail.example.org:25\"", r#"farm.toml:8: mail.smtp: expected a mail server such as "smtp://localhost:25", "smtps://mail.example.org" or "starttls://mail.example.org:587", found `mail.example.org:25`"#),
        (smtp, "smtp = \"tls://mail.example.org\"", r#"farm.toml:8: mail.smtp: expected a mail server such as "smtp://localhost:25", "smtps://mail.example.org" or "starttls://mail.example.org:587", found `tls://mail.example.org`: the scheme decides how the connection is secured"#),
        (smtp, "smtp = \"smtps://mail.example.org:mail\"", r#"farm.toml:8: mail.smtp: expected a mail server such as "smtp://localhost:25", "smtps://mail.example.org" or "starttls://mail.example.org:587", found `smtps://mail.example.org:mail`: the port is not a number from 1 to 65535"#),
        ("user = \"canary\"\n", "", "farm.toml:9: mail.password_file: a login needs `user` beside it"),
        ("password_file = \"smtp.password\"\n", "", "farm.toml:9: mail.user: a login needs `password_file` beside it"),
        ("from = \"Farm <farm@example.org>\"", "from = \"farm\"", r#"farm.toml:11: mail.from: expected a mail address such as "farm@example.org" or "Farm <farm@example.org>", found `farm`"#),
        ("from = \"Farm <farm@example.org>\"", "from = \"a@b.org\\r\\nBcc: c@d.org\"", r#"farm.toml:11: mail.from: expected a mail address such as "farm@example.org" or "Farm <farm@example.org>", found `a@b.org\r\nBcc: c@d.org`"#),
        ("lua-canaries@lists.example.org", "lua-canaries", r#"farm.toml:12: mail.list: expected a mail address such as "lua@example.org", found `lua-canaries`"#),
        ("maintainer@example.org", "Maintainer <m@example.org>", r#"projects/penlight.toml:6: project.contact: expected a mail address such as "lua@example.org", found `Maintainer <m@example.org>`"#),
    ]);
}

#[test]
#[rustfmt::skip]
fn problems_of_names_platforms_and_branches_are_reported() {
    check_all(&[
        ("name = \"lua\"", "name = \"../lua\"", "farm.toml:19: trunk.name: expected 1 to 64 characters of a-z, 0-9, `.`, `_`, `+` and `-`, the first a letter or digit, found `../lua`
projects/penlight.toml:3: project.trunk: no trunk is named `lua`; expected the name of a [[trunk]] in farm.toml
projects/say.toml:3: project.trunk: no trunk is named `lua`; expected the name of a [[trunk]] in farm.toml"),
        ("name = \"compile\"", "name = \"Compile it\"", "farm.toml:30: trunk.recipe.steps.name: expected 1 to 64 characters of a-z, 0-9, `.`, `_`, `+` and `-`, the first a letter or digit, found `Compile it`"),
        ("wants = [\"postgresql\"]", "wants = [\"\"]", "projects/penlight.toml:8: project.wants: expected 1 to 64 characters of a-z, 0-9, `.`, `_`, `+` and `-`, the first a letter or digit, found ``"),
        ("linux-x86_64", "linux-aarch64-debian12", "valid"),
        ("linux-x86_64", "linux", r#"farm.toml:24: trunk.platforms: expected a platform OS-ARCH or OS-ARCH-DISTRIBUTION, such as "linux-x86_64" or "linux-aarch64-debian12", found `linux`"#),
        ("linux-x86_64", "linux-amd64", r#"farm.toml:24: trunk.platforms: expected a platform OS-ARCH or OS-ARCH-DISTRIBUTION, such as "linux-x86_64" or "linux-aarch64-debian12", found `linux-amd64`: no worker names its architecture `amd64`; did you mean `x86_64`?"#),
        ("linux-x86_64", "linx-x86_64", r#"farm.toml:24: trunk.platforms: expected a platform OS-ARCH or OS-ARCH-DISTRIBUTION, such as "linux-x86_64" or "linux-aarch64-debian12", found `linx-x86_64`: no worker names its system `linx`; did you mean `linux`?"#),
        ("linux-x86_64", "x86_64-linux-gnu", r#"farm.toml:24: trunk.platforms: expected a platform OS-ARCH or OS-ARCH-DISTRIBUTION, such as "linux-x86_64" or "linux-aarch64-debian12", found `x86_64-linux-gnu`: no worker names its system `x86_64`"#),
        ("linux-x86_64", "linux-x86_64-", r#"farm.toml:24: trunk.platforms: expected a platform OS-ARCH or OS-ARCH-DISTRIBUTION, such as "linux-x86_64" or "linux-aarch64-debian12", found `linux-x86_64-`"#),
        ("base = \"v5.4.0\"", "base = \"\"", r#"farm.toml:22: trunk.base: expected a tag, a branch or a commit id such as "v5.4.0", found ``"#),
        ("base = \"v5.4.0\"", "base = \"v5.4.0..v5.4.1\"", r#"farm.toml:22: trunk.base: expected a tag, a branch or a commit id such as "v5.4.0", found `v5.4.0..v5.4.1`"#),
        ("[\"master\"]", "[\"feature/x\", \"3.14\"]", "valid"),
        ("[\"master\"]", "[\"-x\"]", r#"farm.toml:21: trunk.branches: expected a branch's name such as "main" or "3.14", found `-x`"#),
        ("[\"master\"]", "[\"a.lock\"]", r#"farm.toml:21: trunk.branches: expected a branch's name such as "main" or "3.14", found `a.lock`"#),
    ]);
}

#[test]
#[rustfmt::skip]
fn problems_of_recipes_are_reported() {
    let long = format!("run = \"{}\"", "x".repeat(300_000));
    let many = format!("steps = [{} {{", "{ name = \"a\", kind = \"test\", run = \"b\" },".repeat(65));
    check_all(&[
        ("steps = [{ name = \"test\", kind = \"test\", run = \"true\" }]", "steps = []", "projects/say.toml:7: recipe.steps: expected 1 to 64 steps, found 0"),
        ("steps = [{ name = \"test\", kind = \"test\", run = \"true\" }]", "", "projects/say.toml:6: recipe.steps: missing; expected a list of at least one step"),
        ("steps = [{", &many, "projects/say.toml:7: recipe.steps: expected 1 to 64 steps, found 66"),
        ("name = \"install\"", "name = \"compile\"", "farm.toml:31: trunk.recipe.steps.name: another step of this recipe is already named `compile`"),
        ("kind = \"compile\"", "kind = \"build\"", r#"farm.toml:30: trunk.recipe.steps.kind: expected one of "fetch", "compile", "install", "test", found `build`"#),
        ("kind = \"compile\"", "kind = \"tst\"", r#"farm.toml:30: trunk.recipe.steps.kind: expected one of "fetch", "compile", "install", "test", found `tst`: did you mean `test`?"#),
        ("run = \"make\"", "run = \" \"", "farm.toml:30: trunk.recipe.steps.run: expected a command line for /bin/sh, found ` `: it would do nothing"),
        ("run = \"make\"", "run = \"a\\u0000b\"", "farm.toml:30: trunk.recipe.steps.run: expected a command line for /bin/sh, found `a\\u{0}b`: a command cannot contain a NUL"),
        ("run = \"make\"", &long, "farm.toml:25: trunk.recipe: a recipe of 300381 bytes: expected at most 256KiB; keep long scripts in the repository"),
        ("report = \"tap\"", "report = \"xml\"", r#"projects/penlight.toml:12: recipe.steps.report: expected a table of patterns, or one of "tap", "junit", "unittest", "pytest", "trial", "libtest", "go", "luaunit", "busted", "gtest", "minitest", "rspec", "bats", "hspec", "kyua", "phpunit", "ctest", "prove", "meson", "julia", "nose2", "tcltest", "lines", "auto", "exit", found `xml`"#),
        ("report = \"tap\"", "report = \"tpa\"", r#"projects/penlight.toml:12: recipe.steps.report: expected a table of patterns, or one of "tap", "junit", "unittest", "pytest", "trial", "libtest", "go", "luaunit", "busted", "gtest", "minitest", "rspec", "bats", "hspec", "kyua", "phpunit", "ctest", "prove", "meson", "julia", "nose2", "tcltest", "lines", "auto", "exit", found `tpa`: did you mean `tap`?"#),
        ("run = \"make\"", "run = \"make\", report = \"tap\"", "farm.toml:30: trunk.recipe.steps.report: only a step of kind `test` reports cases"),
        ("MYCFLAGS", "FARM_PREFIX", "farm.toml:27: trunk.recipe.env.FARM_PREFIX: the farm sets this variable itself; expected another name"),
        ("MYCFLAGS", "PATH", "farm.toml:27: trunk.recipe.env.PATH: the farm sets this variable itself; expected another name"),
        ("MYCFLAGS", "\"A B\"", "farm.toml:27: trunk.recipe.env.`A B`: not a name of an environment variable; expected letters, digits and `_`"),
    ]);
}

#[test]
#[rustfmt::skip]
fn problems_of_names_across_files_are_reported() {
    let twice = format!("[[trunk]]\nname = \"lua\"\n{}", &FARM[FARM.find("git = ").unwrap()..]);
    check_all(&[
        ("name = \"say\"", "name = \"penlight\"", "projects/penlight.toml:7: project.needs: no project is named `say`; expected a registered project
projects/say.toml:2: project.name: another project is already named `penlight`, at projects/penlight.toml:2"),
        ("[[trunk]]", &format!("{twice}[[trunk]]"), "farm.toml:34: trunk.name: another trunk is already named `lua`, at farm.toml:19"),
        ("trunk = \"lua\"", "trunk = \"lue\"", "projects/penlight.toml:3: project.trunk: no trunk is named `lue`; did you mean `lua`?"),
        ("trunk = \"lua\"", "trunk = \"python\"", "projects/penlight.toml:3: project.trunk: no trunk is named `python`; expected the name of a [[trunk]] in farm.toml"),
        ("needs = [\"say\"]", "needs = [\"sai\"]", "projects/penlight.toml:7: project.needs: no project is named `sai`; did you mean `say`?"),
        ("needs = [\"say\"]", "needs = [\"luassert\"]", "projects/penlight.toml:7: project.needs: no project is named `luassert`; expected a registered project"),
        ("needs = [\"say\"]", "needs = [\"penlight\"]", "projects/penlight.toml:7: project.needs: a project cannot need itself"),
        ("tag = \"v1.3\"", "tag = \"v1.3\"\nneeds = [\"penlight\"]", "projects/penlight.toml:7: project.needs: a circle: `penlight` needs `say`, which needs `penlight`; only projects with `source_only = true` may be a circle, so register the source of one of them once more by itself
projects/say.toml:6: project.needs: a circle: `say` needs `penlight`, which needs `say`; only projects with `source_only = true` may be a circle, so register the source of one of them once more by itself"),
        ("git = \"say\"\ntag = \"v1.3\"", "latest = \"luarocks newest say\"", "projects/penlight.toml:7: project.needs: `say` has no git repository; expected a project that has one"),
        ("needs = [\"say\"]", "needs = [\"say\", \"say\"]", "projects/penlight.toml:7: project.needs: occurs twice in this list"),
    ]);
}

#[test]
fn a_need_is_a_project_of_the_same_trunk() {
    let other = FARM[FARM.find("[[trunk]]").unwrap()..].replace("\"lua\"", "\"luajit\"");
    let say = SAY.replace("\"lua\"", "\"luajit\"");
    let problems = parsed(&format!("{FARM}\n{other}"), PENLIGHT, &say).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "projects/penlight.toml:7: project.needs: `say` belongs to trunk `luajit`; expected a project of the same trunk"
    );
}

#[test]
fn an_invalid_trunk_causes_no_problems_of_its_projects() {
    assert_eq!(problems_with("poll = \"60s\"", "poll = \"x\"").lines().count(), 1);
}

#[test]
fn a_login_is_never_printed() {
    let printed = format!("{:?}", valid());
    assert!(!printed.contains("canary\"") && !printed.contains("smtp.password"), "{printed}");
    assert!(
        !problems_with("smtp = \"starttls", "smtp = \"smtps://u:hunter2@h\"\nx = \"starttls")
            .contains("hunter2")
    );
}

#[test]
fn a_thousand_problems_are_reported_in_a_hundred_lines() {
    let many: String = (0..1000).map(|n| format!("colour{n} = 1\n")).collect();
    let problems = parsed(&format!("{many}{FARM}"), PENLIGHT, SAY).unwrap_err().to_string();
    assert_eq!((problems.lines().count(), problems.lines().last()), (101, Some("and 900 more")));
}

proptest! {
    #[test]
    fn any_bytes_are_a_configuration_or_problems(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (farm, projects) = (file("farm.toml", bytes.clone()), vec![file("projects/a.toml", bytes.clone())]);
        let _ = parse(&files::Files { farm, projects, lists: vec![file("projects/a.txt", bytes)] });
    }

    /// Nearer to a real file than random bytes: a valid file with one piece replaced.
    #[test]
    fn any_damaged_file_is_valid_or_has_problems(at in 0..FARM.len(), length in 0..40_usize,
                                                 text in "[\\PC\\n]{0,20}|[\\[\\]{}=\",.0-9a-z]{0,8}") {
        for (farm, project) in [(FARM, PENLIGHT), (PENLIGHT, FARM)] {
            let start = at.min(farm.len());
            let mut damaged = farm.to_string();
            damaged.replace_range(start..(start + length).min(farm.len()), &text);
            let (farm, project) = if farm == FARM { (damaged.as_str(), project) } else { (project, damaged.as_str()) };
            if let Err(problems) = parsed(farm, project, SAY) {
                prop_assert!(!problems.0.is_empty());
                prop_assert!(problems.0.iter().all(|problem| !problem.message.contains(char::is_control)));
            }
        }
    }

    #[test]
    fn any_text_of_a_valid_key_is_valid_or_has_problems(value in "\\PC{0,40}") {
        for key in ["url = \"https://farm.example.org/\"", "smtp = \"starttls://mail.example.org\"",
                    "git = \"https://example.org/lua.git\"", "poll = \"60s\"", "memory = \"2GiB\""] {
            let name = key.split(' ').next().unwrap();
            let problems = problems_with(key, &format!("{name} = {}", toml::Value::from(value.as_str())));
            prop_assert!(problems == "valid" || problems.contains(": expected") || problems.contains("; expected"), "{problems}");
        }
    }
}
