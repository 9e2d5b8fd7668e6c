//! Reads a recipe, and makes it into what a worker gets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::readers::Patterns;
use protocol::{Checkout, Limits, Recipe, RecipeStep, ReportFormat, ReportPatterns, StepKind};

use super::nearest::did_you_mean;
use super::problem::quoted;
use super::table::{Table, Value};
use super::words::{COMMAND, DURATION, Form, NAME, SIZE, VARIABLE, Why, because, duration_text, size_text};

const MAX_STEPS: usize = 64;
/// A plan carries a recipe in one message of [`protocol::MAX_MESSAGE_BYTES`]; its cases need the rest.
const MAX_BYTES: usize = protocol::MAX_MESSAGE_BYTES / 4;
const MAX_TIME: Duration = Duration::from_secs(7 * 86_400);

/// What the recipe is for, which decides its keys.
#[derive(Clone, Copy)]
pub(super) enum RecipeOf {
    Trunk,
    Project,
    /// A project without a suite: it may have no steps, and tests nothing.
    Source,
}

pub(super) fn recipe(value: Value, of: RecipeOf) -> Option<Recipe> {
    let recipe = value.table(|table| {
        let env = table.get("env").and_then(|value| env(&value));
        let limits = table.get("limits").and_then(|value| value.table(limits)).unwrap_or_default();
        let steps = steps_of(table, of, limits);
        // Only a toolchain is used by other builds, so only a toolchain has to prove first that it works.
        let smoke = match of {
            RecipeOf::Trunk => table.optional("smoke", &COMMAND),
            RecipeOf::Project | RecipeOf::Source => None,
        };
        // A toolchain's tests are not worth it: its probes have to build it first.
        let selects = match of {
            RecipeOf::Trunk | RecipeOf::Source => None,
            RecipeOf::Project => table.get("selects").and_then(|value| value.boolean()),
        };
        let selects = selects.unwrap_or(false);
        let checkout = Checkout::default();
        Some(Recipe { env: env.unwrap_or_default(), steps: steps?, smoke, limits, checkout, selects })
    })?;
    is_small(&value, &recipe).then_some(recipe)
}

/// Whether a plan may carry a recipe; otherwise this is reported.
pub(super) fn is_small(value: &Value, recipe: &Recipe) -> bool {
    let problem = too_large(recipe);
    if let Some(problem) = &problem {
        value.report(problem);
    }
    problem.is_none()
}

/// What is wrong with a recipe that no message could carry, or that has too many steps.
pub(super) fn too_large(recipe: &Recipe) -> Option<String> {
    let bytes = protocol::encode(recipe).len();
    if recipe.steps.len() > MAX_STEPS {
        return Some(format!("expected 1 to {MAX_STEPS} steps, found {}", recipe.steps.len()));
    }
    (bytes > MAX_BYTES).then(|| {
        format!(
            "a recipe of {bytes} bytes: expected at most {}; keep long scripts in the repository",
            size_text(u64::try_from(MAX_BYTES).expect("a constant of some hundred thousand"))
        )
    })
}

/// The steps, as a list or as tables `[[recipe.step]]`.
fn steps_of(table: &Table, of: RecipeOf, limits: Limits) -> Option<Vec<RecipeStep>> {
    match (table.get("steps"), table.get("step"), of) {
        (Some(_), Some(tables), _) => {
            tables.report("`steps` is given, too; expected one of the two");
            None
        }
        (Some(value), None, _) | (None, Some(value), _) => steps(&value, of, limits),
        (None, None, RecipeOf::Source) => Some(Vec::new()),
        (None, None, RecipeOf::Trunk | RecipeOf::Project) => {
            table.report("steps", "missing; expected a list of at least one step");
            None
        }
    }
}

pub(super) fn env(value: &Value) -> Option<BTreeMap<String, String>> {
    let mut env = BTreeMap::new();
    for (name, value) in value.entries()? {
        let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_word || name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() || name.len() > 100 {
            value.report("not a name of an environment variable; expected letters, digits and `_`");
        } else if name.starts_with("FARM_")
            || matches!(name, "PATH" | "HOME" | "TMPDIR" | "SOURCE_DATE_EPOCH")
        {
            // Values of one machine would leak into the toolchain.
            value.report("the farm sets this variable itself; expected another name");
        } else if let Some(text) = value.read(&VARIABLE) {
            env.insert(name.to_string(), text);
        }
    }
    Some(env)
}

fn limits(table: &Table) -> Option<Limits> {
    let default = Limits::default();
    let time_ms = table.get("time").and_then(|value| time(&value)).unwrap_or(default.time_ms);
    let silence_ms = match table.get("silence") {
        Some(value) => silence(&value, time_ms).unwrap_or(default.silence_ms),
        None => default.silence_ms.min(time_ms),
    };
    let bytes = |key, from: u64, to: u64| table.get(key)?.read_within(&SIZE, from..=to, size_text);
    Some(Limits {
        time_ms,
        silence_ms,
        memory_bytes: bytes("memory", 16 << 20, 1 << 40).unwrap_or(default.memory_bytes),
        log_bytes: bytes("log", 4 << 10, 1 << 30).unwrap_or(default.log_bytes),
    })
}

fn time(value: &Value) -> Option<u64> {
    value.read_within(&DURATION, Duration::from_secs(1)..=MAX_TIME, duration_text).map(milliseconds)
}

/// At most the time limit: a longer silence could never be noticed.
fn silence(value: &Value, time_ms: u64) -> Option<u64> {
    let silence = time(value)?;
    if silence > time_ms {
        let time = duration_text(Duration::from_millis(time_ms));
        value.report(format!("longer than the time limit; expected at most {time}"));
        return None;
    }
    Some(silence)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("bounded by MAX_TIME")
}

fn steps(value: &Value, of: RecipeOf, limits: Limits) -> Option<Vec<RecipeStep>> {
    let items = value.list("a list of steps")?;
    if items.is_empty() || items.len() > MAX_STEPS {
        value.report(format!("expected 1 to {MAX_STEPS} steps, found {}", items.len()));
        return None;
    }
    let count = items.len();
    let mut names = BTreeSet::new();
    let steps: Vec<RecipeStep> =
        items.iter().filter_map(|item| item.table(|table| step(table, of, limits, &mut names))).collect();
    (steps.len() == count).then_some(steps)
}

fn step(table: &Table, of: RecipeOf, limits: Limits, names: &mut BTreeSet<String>) -> Option<RecipeStep> {
    let name = table.need("name", NAME.expected).and_then(|value| {
        let name = value.read(&NAME)?;
        if !names.insert(name.clone()) {
            value.report(format!("another step of this recipe is already named {}", quoted(&name)));
        }
        Some(name)
    });
    let kind = table.need("kind", KIND.expected).and_then(|value| {
        let kind = value.read(&KIND)?;
        if matches!((of, kind), (RecipeOf::Source, StepKind::Test)) {
            value
                .report("a source-only project has no suite; expected \"fetch\", \"compile\" or \"install\"");
            return None;
        }
        Some(kind)
    });
    let run = table.required("run", &COMMAND);
    let network = table.get("network").and_then(|value| value.boolean()).unwrap_or(false);
    let (mut report, mut own) = (None, None);
    if let Some(value) = table.get("report") {
        // The patterns read what the step prints, and without them a worker has only the lines.
        match value.is_table() {
            true => (report, own) = (Some(ReportFormat::Lines), patterns(&value)),
            false => report = value.read(&REPORT),
        }
        if kind.is_some_and(|kind| kind != StepKind::Test) {
            value.report("only a step of kind `test` reports cases");
        }
    }
    let time_ms = table.get("time").and_then(|value| time(&value));
    let within = time_ms.unwrap_or(limits.time_ms);
    let silence_ms = match table.get("silence") {
        Some(value) => silence(&value, within),
        // The recipe's silence would be longer than the step's time.
        None => (limits.silence_ms > within).then_some(within),
    };
    Some(RecipeStep {
        name: name?,
        kind: kind?,
        run: run?,
        network,
        report,
        patterns: own,
        time_ms,
        silence_ms,
    })
}

/// Patterns of the project's own, all of whose problems are reported.
fn patterns(value: &Value) -> Option<ReportPatterns> {
    value.table(|table| {
        let values = ["pass", "fail", "skip", "end"].map(|key| table.get(key).map(|value| (key, value)));
        let of = |key| values.iter().flatten().find(|(of_key, _)| *of_key == key).map(|(_, value)| value);
        let text = |key| of(key).and_then(|value| value.read(&PATTERN));
        if of("fail").is_none() {
            table.report("fail", format!("missing; expected {}", PATTERN.expected));
        }
        let patterns =
            ReportPatterns { pass: text("pass"), fail: text("fail")?, skip: text("skip"), end: text("end") };
        let Err(problems) = Patterns::compile(&patterns) else { return Some(patterns) };
        for problem in problems {
            if let Some(value) = of(problem.key) {
                value.report(problem.message);
            }
        }
        None
    })
}

const PATTERN: Form<String> = Form {
    expected: "a regular expression with a group `case`, such as '^FAIL (?P<case>.+)$'",
    read: |text| if text.is_empty() { Err(Why::Other) } else { Ok(text.to_string()) },
};

const KIND: Form<StepKind> = Form {
    expected: "one of \"fetch\", \"compile\", \"install\", \"test\"",
    read: |text| {
        choose(
            text,
            [StepKind::Fetch, StepKind::Compile, StepKind::Install, StepKind::Test],
            StepKind::as_str,
        )
    },
};

const REPORT: Form<ReportFormat> = Form {
    expected: "a table of patterns, or one of \"tap\", \"junit\", \"unittest\", \"pytest\", \"trial\", \"libtest\", \"go\", \"luaunit\", \
               \"busted\", \"gtest\", \"minitest\", \"rspec\", \"bats\", \"hspec\", \"kyua\", \"phpunit\", \
               \"ctest\", \"prove\", \"meson\", \"julia\", \"nose2\", \"tcltest\", \"lines\", \"auto\", \"exit\"",
    read: |text| choose(text, ReportFormat::ALL, ReportFormat::as_str),
};

fn choose<T: Copy, const N: usize>(text: &str, all: [T; N], word: fn(T) -> &'static str) -> Result<T, Why> {
    match all.iter().find(|one| word(**one) == text) {
        Some(one) => Ok(*one),
        None => match did_you_mean(text, all.map(word)) {
            hint if hint.is_empty() => Err(Why::Other),
            hint => because(hint.trim_start_matches("; ")),
        },
    }
}
