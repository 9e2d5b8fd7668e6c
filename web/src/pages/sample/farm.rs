//! The sample farm's status, workers, queue and one project.

use super::{COLUMNS, NOW, TITLES, builder, change, mark, waterfall};
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, Span};
use crate::pages::project::{
    BaselineLine, FlakyLine, NeedLine, PassingMark, ProjectInputsLine, ProjectMark, ProjectView,
    UnstableFaultsLine,
};
use crate::pages::queue::{QueueView, WaitingLine};
use crate::pages::stats::{CheckLine, CheckResults, FallenLine, FoundLine, StatsView};
use crate::pages::status::{NeverWorked, OpenSearch, RecentBuilds, StatusView, TrunkLine};
use crate::pages::worker::{FoundCulprit, WorkerView};
use crate::pages::workers::{WorkerLine, WorkersView};
use crate::pages::{BuildMark, MarkLine, NewFailureLine};

pub fn status() -> StatusView {
    let recent_builds = (0..COLUMNS.len()).map(|column| RecentBuilds {
        builder: builder(column),
        marks: COLUMNS[column]
            .1
            .chars()
            .enumerate()
            .filter_map(|(at, letter)| mark_of(column, at, letter))
            .collect(),
    });
    StatusView {
        sentence: "3 changes of lua master break cbuffer, keywords, numfmt and 2 more today; 1 breakage is being searched."
            .into(),
        culprits: waterfall().culprits.into_iter().filter(|culprit| culprit.is_open).collect(),
        failing_canaries: vec![],
        missing_toolchains: vec![],
        toolchain_inputs: vec![],
        searches: vec![OpenSearch {
            breakage: 10,
            status_style: StatusStyle::New,
            sentence: "numfmt: 4 cases are broken, 3 changes are in the range".into(),
            marks: vec![MarkLine {
                kind: "expected to fail".into(),
                issue: "https://example.org/numfmt/issues/41".into(),
                until: Moment(1_800_000_000_000),
            }],
        }],
        new_failures: vec![new_failures(2, false)],
        trunks: vec![
            TrunkLine {
                trunk: "lua".into(),
                branch: "master".into(),
                tip: Some(change(25)),
                problem: None,
                progress: None,
                polled_at: Some(Moment(NOW - 20_000)),
            },
            TrunkLine {
                trunk: "lua".into(),
                branch: "v5.4".into(),
                tip: None,
                problem: Some("not reached since 23 Nov 2026, 07:12:40 (5 failed polls): connection refused".into()),
                progress: Some("fetching lua: 61 MB, 4,211 of 9,000 objects".into()),
                polled_at: None,
            },
        ],
        worker_problems: vec!["attic is offline (last seen 21 Nov 2026, 07:58:00); owner: Ben Okafor".into()],
        project_problems: vec![
            "say: not reached since 23 Nov 2026, 06:40:00 (3 failed polls): the project has no branch `next`; correct `follow` in its file".into(),
        ],
        never_worked: vec![NeverWorked {
            project: "teliva".into(),
            build: 712,
            sentence: "teliva has never worked on lua master since its first build on 22 Nov 2026, 10:15:02: no case was read: \
                       step test ended with exit 127".into(),
        }],
        recent_builds: recent_builds.collect(),
    }
}

fn mark_of(column: usize, at: usize, letter: char) -> Option<BuildMark> {
    let status_style = match letter {
        '+' | 'F' => StatusStyle::Passed,
        'X' => StatusStyle::New,
        'x' => StatusStyle::Still,
        'B' => StatusStyle::Broken,
        'b' => StatusStyle::Blocked,
        '~' => StatusStyle::Flaky,
        '!' => StatusStyle::Infra,
        '>' => StatusStyle::Running,
        'q' => StatusStyle::Queued,
        _ => return None,
    };
    Some(mark((column * 100 + at) as i64, status_style, &format!("{status_style} at {}", TITLES[at])))
}

pub fn workers() -> WorkersView {
    let worker =
        |name: &str, owner: Option<&str>, trust: Option<&str>, status_style, status: &str, running| {
            WorkerLine {
                name: name.into(),
                owner: owner.map(Into::into),
                trust: trust.map(Into::into),
                status_style,
                status: status.into(),
                machine: "linux x86_64, debian12, gnu, 8 CPUs, 16.0 GiB, bubblewrap".into(),
                version: "0.1.0".into(),
                seen_at: Some(Moment(NOW - 4_000)),
                running,
            }
        };
    WorkersView {
        sentence: "2 of 3 workers are connected; one waits for the operator's approval.".into(),
        workers: vec![
            worker(
                "quiet-corner",
                Some("Ada Lund"),
                Some("maker"),
                StatusStyle::Running,
                "2 of 2 slots busy",
                vec![mark(25, StatusStyle::Running, "toolchain"), mark(725, StatusStyle::Running, "steady")],
            ),
            worker("basement", Some("Chiyo Mori"), Some("counted"), StatusStyle::Passed, "idle", vec![]),
            worker("attic", Some("Ben Okafor"), Some("counted"), StatusStyle::Infra, "offline", vec![]),
            worker("newcomer", None, None, StatusStyle::Queued, "waits for approval", vec![]),
        ],
    }
}

pub fn worker() -> WorkerView {
    let styles = [
        StatusStyle::Passed,
        StatusStyle::Passed,
        StatusStyle::Still,
        StatusStyle::Superseded,
        StatusStyle::Passed,
        StatusStyle::Infra,
        StatusStyle::Running,
    ];
    let marks = styles.iter().zip(700..).map(|(style, build)| mark(build, *style, "steady passed"));
    let found = change(24);
    WorkerView {
        line: WorkerLine {
            name: "quiet-corner".into(),
            owner: Some("Ada Lund".into()),
            trust: Some("maker".into()),
            status_style: StatusStyle::Superseded,
            status: "paused by its owner until 28 Nov 2026, 18:00:00: hours".into(),
            machine: "linux x86_64, debian12, gnu, 8 CPUs, 16.0 GiB, bubblewrap".into(),
            version: "0.1.0".into(),
            seen_at: Some(Moment(NOW - 4_000)),
            running: vec![mark(725, StatusStyle::Running, "steady running")],
        },
        idle: Some("It is paused by its owner until 28 Nov 2026, 18:00:00: hours.".into()),
        terms: Some("not the projects big; no network in steps".into()),
        load: "busy for 3 h 4 min of the last 24 h".into(),
        agreement: "Of its last 40 attempts, 38 gave a build its outcome.".into(),
        recent_builds: marks.collect(),
        culprits: vec![FoundCulprit {
            breakage: 3,
            sha: found.sha,
            title: found.title,
            broke: "tables".into(),
            found_at: Moment(NOW - 86_400_000),
        }],
        busy_ms: Span(11_040_000),
    }
}

fn mark_line(kind: &str) -> MarkLine {
    MarkLine {
        kind: kind.into(),
        issue: "https://example.org/issues/7".into(),
        until: Moment(NOW + 30 * 86_400_000),
    }
}

/// So many cases that are new and fail from their first run on, of which the first is named.
fn new_failures(cases: usize, with_inputs: bool) -> NewFailureLine {
    let change = change(24);
    NewFailureLine {
        builder: builder(7),
        text: domain::notice::new_failure::since("lua", &change.sha, with_inputs),
        change,
        with_inputs,
        cases: vec!["rep > of a table".into()],
        more_cases: cases - 1,
    }
}

pub fn project() -> ProjectView {
    let inputs = |state: &str, status_style, revision: &str, text: &str, differences: &[&str], baselines| {
        ProjectInputsLine {
            branch: "master".into(),
            state: state.into(),
            status_style,
            revision: revision.repeat(40),
            differences: differences.iter().map(std::string::ToString::to_string).collect(),
            text: text.into(),
            needs: vec![NeedLine { name: "tables".into(), revision: "d".repeat(40) }],
            lock: Some("84b9c3e8d2b6b8b4b0f4a7c5b1d2e3f4".into()),
            baselines,
        }
    };
    let baseline = |build, status_style, text: &str, cases: &[&str], more_cases| BaselineLine {
        build,
        status_style,
        text: text.into(),
        cases: cases.iter().map(std::string::ToString::to_string).collect(),
        more_cases,
    };
    let worse = &["rep > a long string", "rep > nothing"];
    ProjectView {
        name: "steady".into(),
        sentence:
            "1 breakage is open; its newest project inputs broke tests themselves, and wait for better ones."
                .into(),
        trunk: "lua".into(),
        git: Some("https://example.org/steady.git".into()),
        newest: Some("c".repeat(40)),
        polled_at: Some(Moment(NOW - 60_000)),
        selection: None,
        problem: Some(
            "Its newest revision has been unknown since 27 Nov 2026, 09:00:00: the remote hung up".into(),
        ),
        wants: vec!["postgresql".into()],
        project_inputs: vec![
            inputs(
                "proposed",
                StatusStyle::New,
                "c",
                "waiting since 27 Nov 2026, 08:00:00 for a revision that is no worse, until 11 Dec 2026, 08:00:00 at the latest",
                &["revision bbbbbbbbbbbb is now cccccccccccc"],
                vec![baseline(731, StatusStyle::New, "on linux-x86_64: 5 cases are worse", worse, 3)],
            ),
            inputs(
                "current",
                StatusStyle::Passed,
                "b",
                "in use since 20 Nov 2026, 08:00:00",
                &["its recipe changed"],
                vec![
                    baseline(610, StatusStyle::Passed, "on linux-x86_64: no case is worse", &[], 0),
                    baseline(611, StatusStyle::Running, "on linux-aarch64: running", &[], 0),
                ],
            ),
        ],
        past_project_inputs: vec![inputs(
            "past",
            StatusStyle::Superseded,
            "a",
            "in use from 1 Nov 2026, 08:00:00 to 20 Nov 2026, 08:00:00",
            &[],
            vec![],
        )],
        recent_builds: vec![RecentBuilds {
            builder: builder(7),
            marks: (1..40)
                .map(|n| {
                    mark(
                        700 + n,
                        if n % 9 == 0 { StatusStyle::New } else { StatusStyle::Passed },
                        "tip: 40 passed",
                    )
                })
                .collect(),
        }],
        breakages: vec![],
        new_failures: vec![new_failures(9, true)],
        needed_by: vec!["csv".into(), "ini".into()],
        marks: vec![
            ProjectMark {
                cases: "rep > *".into(),
                branch: None,
                platform: Some("linux-x86_64".into()),
                variant: None,
                mark: mark_line("expected to fail"),
                is_void: false,
                passing: vec![PassingMark {
                    branch: "master".into(),
                    platform: "linux-x86_64".into(),
                    variant: None,
                    build: 739,
                    case: "rep > a long string".into(),
                    more_cases: 1,
                }],
            },
            ProjectMark {
                cases: "net > answers in time".into(),
                branch: None,
                platform: None,
                variant: None,
                mark: mark_line("known to be flaky"),
                is_void: true,
                passing: vec![],
            },
        ],
        flaky_cases: vec![FlakyLine {
            case: "net > answers in time".into(),
            platform: "linux-x86_64".into(),
            variant: None,
            failures: 3,
            runs: 61,
        }],
        unstable_faults: vec![UnstableFaultsLine {
            branch: "master".into(),
            platform: "linux-x86_64".into(),
            names: 6,
            example: "fault:line:error: no pear is left".into(),
        }],
    }
}

pub fn queue() -> QueueView {
    let line = |column: usize, status_style, reason: &str, status: &str| WaitingLine {
        build: (column * 100 + 25) as i64,
        status_style,
        builder: builder(column),
        change: change(25),
        reason: reason.into(),
        status: status.into(),
        queued_at: Moment(NOW - 60_000),
    };
    QueueView {
        sentence: "2 builds are running, 3 are queued.".into(),
        builds: vec![
            line(0, StatusStyle::Running, "tip", "on quiet-corner"),
            line(7, StatusStyle::Running, "probe", "on quiet-corner"),
            line(1, StatusStyle::Queued, "tip", "waits: quiet-corner has no room"),
            line(2, StatusStyle::Queued, "tip", "no worker of linux-x86_64 offers postgresql"),
            line(3, StatusStyle::Queued, "backfill", "waits until 08:01 after 1 failed attempt"),
        ],
        more: 0,
    }
}

pub fn stats() -> StatsView {
    let line = |kind, claim, stood, fell, none| CheckLine {
        kind,
        claim,
        recent: CheckResults { stood, fell, none },
        ever: CheckResults { stood: stood * 7, fell: fell * 2, none },
    };
    StatsView {
        sentence: "41 repetitions of answers in the last 45 days: 1 contradicted its answer.".into(),
        days: 45,
        checks: vec![
            line("parent", "The change before a culprit is good", 14, 1, 0),
            line("culprit", "A culprit is bad", 15, 0, 2),
            line("flaky", "A flaky test passes now and then, and fails now and then", 0, 0, 0),
            line("repair", "A repair is good", 11, 0, 0),
        ],
        fallen: vec![FallenLine {
            breakage: 7,
            state: "searching".into(),
            claim: "The change before a culprit is good",
            build: 2_114,
            builder: builder(2),
            ended_at: Moment(NOW - 7_200_000),
        }],
        searches: vec![
            FoundLine { found: "flaky".into(), searches: 3 },
            FoundLine { found: "named".into(), searches: 12 },
        ],
    }
}
