//! Reads one `projects/*.toml`: a registered downstream project.

use std::path::Path;
use std::time::Duration;

use domain::breakage::mark::Mark;

use super::cache::caches;
use super::recipe::{RecipeOf, recipe};
use super::settings::{Follow, ProjectConfig};
use super::table::{Table, Value, Written};
use super::urls::{self, absolute};
use super::words;

const DEFAULT_PERIOD: Duration = Duration::from_secs(3600);
const PERIODS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(365 * 86_400));

/// The content of one file before it is compared with the others.
#[derive(Default)]
pub(super) struct Registration {
    /// None if it has problems, which are reported.
    pub project: Option<ProjectConfig>,
    /// These as written, whether or not the rest is valid.
    pub name: Option<Written>,
    pub trunk: Option<Written>,
    pub needs: Vec<Written>,
    /// Whether a command finds its revisions, so that it has no repository that could be mounted.
    pub is_latest: bool,
}

pub(super) fn registration(table: &Table, folder: &Path) -> Registration {
    let mut written = Registration::default();
    let head = table
        .need("project", "a table [project] with name, trunk, git and follow")
        .and_then(|value| value.table(|table| head(table, folder, &mut written)));
    let recipe = table
        .need("recipe", "a table [recipe] with its steps")
        .and_then(|value| recipe(value, RecipeOf::Project));
    let marks = marks(table);
    let caches = caches(table, RecipeOf::Project);
    let project = head.zip(recipe).zip(marks).zip(caches);
    written.project =
        project.map(|(((head, recipe), marks), caches)| ProjectConfig { recipe, marks, caches, ..head });
    written
}

/// The project without its recipe.
fn head(table: &Table, folder: &Path, written: &mut Registration) -> Option<ProjectConfig> {
    let name = table.need("name", words::NAME.expected).and_then(|value| {
        written.name = value.written();
        value.read(&words::NAME)
    });
    let trunk = table.need("trunk", "the name of a [[trunk]] in farm.toml").and_then(|value| {
        written.trunk = value.written();
        value.read(&words::NAME)
    });
    let latest = table.get("latest");
    written.is_latest = latest.is_some();
    let follow = follow(table, latest);
    let git = match written.is_latest {
        false => table.required("git", &urls::GIT).map(|git| absolute(git, folder)),
        true => match table.get("git") {
            None => Some(String::new()),
            Some(git) => {
                git.report("`latest` is given, too; expected git with `follow` or `tag`, or `latest` alone");
                None
            }
        },
    };
    let contacts = table.get("contact").map_or(Some(vec![]), |value| value.set(&words::ADDRESS));
    let needs = table.get("needs").map_or(Some(vec![]), |value| {
        written.needs = value.list("a list of projects")?.iter().filter_map(Value::written).collect();
        value.set(&words::NAME)
    });
    let wants = table.get("wants").map_or(Some(vec![]), |value| value.set(&words::NAME));
    let relock = table.get("relock").map_or(Some(None), |value| {
        value.read_within(&words::DURATION, PERIODS.0..=PERIODS.1, words::duration_text).map(Some)
    });
    let canary = table.get("canary").map_or(Some(None), |value| value.read(&words::CANARY).map(Some));
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
        recipe: Default::default(),
        caches: vec![],
    })
}

/// What people mark cases as: each mark has an issue that gives the reason, and a day on which it ends.
fn marks(table: &Table) -> Option<Vec<Mark>> {
    let Some(value) = table.get("mark") else { return Some(vec![]) };
    let marks = value.list("a list of tables [[mark]]")?;
    let read: Vec<Option<Mark>> = marks.iter().map(|value| value.table(mark)).collect();
    read.into_iter().collect()
}

fn mark(table: &Table) -> Option<Mark> {
    let kind = table.required("is", &words::MARK);
    let cases = table.required("case", &words::CASES);
    let issue = table.required("issue", &urls::ISSUE);
    let until = table.required("until", &words::DAY);
    // A condition that cannot be read must not count as no condition.
    let branch = table.get("branch").map_or(Some(None), |value| value.read(&words::BRANCH).map(Some));
    let platform = table.get("platform").map_or(Some(None), |value| value.read(&words::PLATFORM).map(Some));
    Some(Mark {
        kind: kind?,
        cases: cases?,
        branch: branch?,
        platform: platform?,
        issue: issue?,
        until: until?,
    })
}

fn follow(table: &Table, latest: Option<Value>) -> Option<Follow> {
    const EXPECTED: &str =
        "`follow = \"BRANCH\"`, `follow = \"newest-tag\"`, `tag = \"TAG\"` or `latest = \"COMMAND\"`";
    let (follow, tag, every) = (table.get("follow"), table.get("tag"), table.get("every"));
    let conflict = |value: Value, key: &str| {
        value.report(format!("`{key}` is given, too; expected one of {EXPECTED}"));
        None
    };
    if let (Some(every), None) = (&every, &latest) {
        every.report("`every` belongs to `latest`; a repository is polled with its trunk");
    }
    match (follow, tag, latest) {
        (None, None, Some(latest)) => {
            let every = every.map_or(Some(DEFAULT_PERIOD), |every| {
                every.read_within(&words::DURATION, PERIODS.0..=PERIODS.1, words::duration_text)
            });
            Some(Follow::Latest { command: latest.read(&words::COMMAND)?, every: every? })
        }
        (Some(value), _, Some(_)) | (None, Some(value), Some(_)) => conflict(value, "latest"),
        (Some(follow), None, None) => follow.read(&words::BRANCH).map(|branch| match branch.as_str() {
            "newest-tag" => Follow::NewestTag,
            _ => Follow::Branch(branch),
        }),
        (None, Some(tag), None) => tag.read(&words::TAG).map(Follow::Tag),
        (Some(_), Some(tag), None) => conflict(tag, "follow"),
        (None, None, None) => {
            table.report("follow", format!("missing; expected one of {EXPECTED}"));
            None
        }
    }
}
