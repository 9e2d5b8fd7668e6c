//! Reads one `projects/*.toml`: a registered downstream project.

use std::path::Path;
use std::time::Duration;

use domain::breakage::mark::Mark;
use protocol::Checkout;

use super::cache::caches;
use super::recipe::{RecipeOf, recipe};
use super::settings::{Follow, ProjectConfig};
use super::table::{Table, Value, Written};
use super::urls::{self, absolute};
use super::words;

const DEFAULT_PERIOD: Duration = Duration::from_secs(3600);
const PERIODS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(365 * 86_400));

/// One project before it is compared with the others.
#[derive(Default)]
pub(super) struct Registration {
    /// None if it has problems, which are reported.
    pub project: Option<ProjectConfig>,
    /// These as written, whether or not the rest is valid.
    pub name: Option<Written>,
    pub trunk: Option<Written>,
    pub needs: Vec<Written>,
    /// The variants of its trunk that it names: those that it chooses, and those of its marks.
    pub variants: Vec<Written>,
    /// Whether a command finds its revisions, so that it has no repository that could be mounted.
    pub is_latest: bool,
    /// Whether it has no suite.
    pub source_only: bool,
}

/// Where a project's name is.
pub(super) enum NameSource<'n> {
    /// In its table.
    Key,
    /// In the list of a family.
    Family(&'n Written),
}

pub(super) fn registration(table: &Table, folder: &Path, name: NameSource<'_>) -> Registration {
    let mut written = Registration::default();
    let head = table
        .need("project", "a table [project] with name, trunk, git and follow")
        .and_then(|value| value.table(|table| head(table, folder, name, &mut written)));
    let of = if written.source_only { RecipeOf::Source } else { RecipeOf::Project };
    let recipe = match (table.get("recipe"), of) {
        (Some(value), _) => recipe(value, of),
        (None, RecipeOf::Source) => Some(Default::default()),
        (None, RecipeOf::Project | RecipeOf::Trunk) => {
            table.report("recipe", "missing; expected a table [recipe] with its steps");
            None
        }
    };
    let marks = marks(table, &mut written);
    let caches = caches(table, of);
    if written.source_only
        && let Some(mark) = table.get("mark")
    {
        mark.report("a source-only project has no cases");
    }
    if written.source_only
        && let Some(cache) = table.get("cache")
    {
        cache.report("the steps of a source-only project run in the builds of those that need it; declare the cache there");
    }
    let project = head.zip(recipe).zip(marks).zip(caches);
    written.project = project.map(|(((head, mut recipe), marks), caches)| {
        recipe.checkout = head.recipe.checkout.clone();
        ProjectConfig { recipe, marks, caches, ..head }
    });
    written
}

/// The project without the steps of its recipe.
fn head(
    table: &Table,
    folder: &Path,
    name: NameSource<'_>,
    written: &mut Registration,
) -> Option<ProjectConfig> {
    let name = read_name(table, name, written);
    let trunk = table.need("trunk", "the name of a [[trunk]] in farm.toml").and_then(|value| {
        written.trunk = value.written();
        value.read(&words::NAME)
    });
    let latest = table.get("latest");
    written.is_latest = latest.is_some();
    let follow = follow(table, latest);
    let git = git(table, folder, written.is_latest);
    let contacts = table.get("contact").map_or(Some(vec![]), |value| value.set(&words::ADDRESS));
    let needs = table.get("needs").map_or(Some(vec![]), |value| {
        written.needs = value.list("a list of projects")?.iter().filter_map(Value::written).collect();
        value.set(&words::NAME)
    });
    let wants = table.get("wants").map_or(Some(vec![]), |value| value.set(&words::NAME));
    let relock = table.get("relock").map_or(Some(None), |value| {
        value.read_within(&words::DURATION, PERIODS.0..=PERIODS.1, words::duration_text).map(Some)
    });
    let variants = table.get("variants").map_or(Some(None), |value| {
        written.variants = value.list("a list of variants")?.iter().filter_map(Value::written).collect();
        value.filled_set(&words::NAME).map(|names| Some(names.into_iter().collect()))
    });
    let canary = table.get("canary").map_or(Some(None), |value| value.read(&words::CANARY).map(Some));
    let checkout = checkout(table, written);
    Some(ProjectConfig {
        name: name?,
        trunk: trunk?,
        git: git?,
        follow: follow?,
        contacts: contacts?,
        needs: needs?,
        wants: wants?,
        relock: relock?,
        canary: canary?,
        marks: vec![],
        source_only: written.source_only,
        variants: variants?,
        recipe: protocol::Recipe { checkout, ..Default::default() },
        caches: vec![],
    })
}

fn read_name(table: &Table, name: NameSource<'_>, written: &mut Registration) -> Option<String> {
    match name {
        NameSource::Key => table.need("name", words::NAME.expected).and_then(|value| {
            written.name = value.written();
            value.read(&words::NAME)
        }),
        NameSource::Family(name) => {
            written.name = Some(name.clone());
            Some(name.text.clone())
        }
    }
}

/// The URL of its repository; empty where a command finds its revisions.
fn git(table: &Table, folder: &Path, is_latest: bool) -> Option<String> {
    match is_latest {
        false => table.required("git", &urls::GIT).map(|git| absolute(git, folder)),
        true => match table.get("git") {
            None => Some(String::new()),
            Some(git) => {
                git.report("`latest` is given, too; expected git with `follow` or `tag`, or `latest` alone");
                None
            }
        },
    }
}

/// How the source is checked out, and whether it is all that there is of the project.
fn checkout(table: &Table, written: &mut Registration) -> Checkout {
    let source_only = table.get("source_only");
    written.source_only = source_only.as_ref().and_then(Value::boolean).unwrap_or(false);
    let (submodules, version) = (table.get("submodules"), table.get("version"));
    if written.is_latest {
        for given in [&source_only, &submodules, &version].into_iter().flatten() {
            given.report("`latest` is given, too; expected a project with a git repository");
        }
    }
    if written.source_only {
        for key in ["canary", "relock"] {
            if let Some(given) = table.get(key) {
                given.report("a source-only project has no suite");
            }
        }
        if let Some(version) = &version {
            version.report("a source-only project has no suite; expected it in the projects that need it");
        }
    }
    let submodules = submodules.and_then(|value| value.boolean()).unwrap_or(false);
    let describe = version.and_then(|value| value.read(&words::VERSION)).is_some();
    Checkout { submodules, describe, ..Checkout::default() }
}

/// What people mark cases as: each mark has an issue that gives the reason, and a day on which it ends.
fn marks(table: &Table, written: &mut Registration) -> Option<Vec<Mark>> {
    let Some(value) = table.get("mark") else { return Some(vec![]) };
    let marks = value.list("a list of tables [[mark]]")?;
    let read: Vec<Option<Mark>> =
        marks.iter().map(|value| value.table(|table| mark(table, written))).collect();
    read.into_iter().collect()
}

fn mark(table: &Table, written: &mut Registration) -> Option<Mark> {
    let kind = table.required("is", &words::MARK);
    let cases = table.required("case", &words::CASES);
    let issue = table.required("issue", &urls::ISSUE);
    let until = table.required("until", &words::DAY);
    // A condition that cannot be read must not count as no condition.
    let branch = table.get("branch").map_or(Some(None), |value| value.read(&words::BRANCH).map(Some));
    let platform = table.get("platform").map_or(Some(None), |value| value.read(&words::PLATFORM).map(Some));
    let variant = table.get("variant").map_or(Some(None), |value| {
        written.variants.extend(value.written());
        value.read(&words::NAME).map(Some)
    });
    Some(Mark {
        kind: kind?,
        cases: cases?,
        branch: branch?,
        platform: platform?,
        variant: variant?,
        issue: issue?,
        until: until?,
    })
}

fn follow(table: &Table, latest: Option<Value>) -> Option<Follow> {
    const EXPECTED: &str = "`follow = \"BRANCH\"`, `follow = \"newest-tag\"`, `tag = \"TAG\"`, `commit = \"ID\"` or \
                            `latest = \"COMMAND\"`";
    let by_git = ["follow", "tag", "commit"].map(|key| (key, table.get(key)));
    let given: Vec<(&str, Value)> =
        by_git.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let every = table.get("every");
    let conflict = |value: &Value, key: &str| {
        value.report(format!("`{key}` is given, too; expected one of {EXPECTED}"));
        None
    };
    if let (Some(every), None) = (&every, &latest) {
        every.report("`every` belongs to `latest`; a repository is polled with its trunk");
    }
    match (given.as_slice(), latest) {
        ([], Some(latest)) => {
            let every = every.map_or(Some(DEFAULT_PERIOD), |every| {
                every.read_within(&words::DURATION, PERIODS.0..=PERIODS.1, words::duration_text)
            });
            Some(Follow::Latest { command: latest.read(&words::COMMAND)?, every: every? })
        }
        ([(_, value), ..], Some(_)) => conflict(value, "latest"),
        ([(first, _), (_, second), ..], None) => conflict(second, first),
        ([("tag", tag)], None) => tag.read(&words::TAG).map(Follow::Tag),
        ([("commit", commit)], None) => commit.read(&words::COMMIT).map(Follow::Commit),
        ([(_, follow)], None) => follow.read(&words::BRANCH).map(|branch| match branch.as_str() {
            "newest-tag" => Follow::NewestTag,
            _ => Follow::Branch(branch),
        }),
        ([], None) => {
            table.report("follow", format!("missing; expected one of {EXPECTED}"));
            None
        }
    }
}
