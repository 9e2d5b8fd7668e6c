//! Reads `farm.toml`: the farm itself, its mail, its trunks.

use std::path::Path;
use std::time::Duration;

use domain::dispatch::lease::Leases;
use domain::retention::Retention;

use super::cache::caches;
use super::recipe::{RecipeOf, recipe};
use super::settings::{Login, MailConfig, SearchConfig, Security, Smtp, TrunkConfig};
use super::table::{Table, Value, Written};
use super::urls::{self, absolute};
use super::variant;
use super::words::{self, duration_text};

/// The content of farm.toml before it is compared with the other files. What is none has problems that are reported.
pub(super) struct FarmFile {
    pub identity: Option<Identity>,
    pub mail: Option<MailConfig>,
    pub search: SearchConfig,
    pub leases: Leases,
    pub retention: Retention,
    pub trunks: Vec<TrunkConfig>,
    /// As written, also of trunks that have problems, so that their projects are not blamed for that.
    pub trunk_names: Vec<Written>,
}

/// The table `[farm]`.
pub(super) struct Identity {
    pub name: String,
    pub url: String,
    pub listen: std::net::SocketAddr,
    pub data: std::path::PathBuf,
    pub max_readers: u32,
    pub max_workers: u32,
}

pub(super) fn farm(table: &Table, folder: &Path) -> FarmFile {
    let identity = table.need("farm", "a table [farm] with name, url, listen and data");
    let mut farm = FarmFile {
        identity: identity.and_then(|value| value.table(|table| self::identity(table, folder))),
        mail: table.get("mail").and_then(|value| value.table(|table| mail(table, folder))),
        search: table.get("search").and_then(|value| value.table(search)).unwrap_or_default(),
        leases: table.get("leases").and_then(|value| value.table(leases)).unwrap_or_default(),
        retention: table.get("retention").and_then(|value| value.table(retention)).unwrap_or_default(),
        trunks: vec![],
        trunk_names: vec![],
    };
    let trunks = table.need("trunk", "at least one table [[trunk]]");
    for value in trunks.and_then(|value| value.list("tables [[trunk]]")).unwrap_or_default() {
        farm.trunks.extend(value.table(|table| trunk(table, folder, &mut farm.trunk_names)));
    }
    farm
}

fn identity(table: &Table, folder: &Path) -> Option<Identity> {
    let name = table.required("name", &words::TITLE);
    let url = table.required("url", &urls::FARM);
    let listen = table.required("listen", &words::LISTEN);
    let data = table.required("data", &words::FOLDER);
    let max_readers = table.get("max_readers").and_then(|value| value.whole_number(0..=100_000));
    let max_workers = table.get("max_workers").and_then(|value| value.whole_number(1..=100_000));
    Some(Identity {
        name: name?,
        url: url?,
        listen: listen?,
        data: folder.join(data?),
        max_readers: max_readers.unwrap_or(2_000),
        max_workers: max_workers.unwrap_or(20_000),
    })
}

fn mail(table: &Table, folder: &Path) -> Option<MailConfig> {
    let server = table.need("smtp", urls::SMTP.expected);
    let user = table.get("user");
    let password_file = table.get("password_file");
    match (&user, &password_file) {
        (Some(user), None) => user.report("a login needs `password_file` beside it"),
        (None, Some(file)) => file.report("a login needs `user` beside it"),
        (Some(_), Some(_)) | (None, None) => {}
    }
    let login = user.zip(password_file).map(|(user, file)| {
        let (user, file) = (user.read(&words::USER), file.read(&words::FILE));
        Some(Login { user: user?, password_file: folder.join(file?) })
    });
    let smtp = server.and_then(|value| smtp(&value, login));
    let from = table.required("from", &words::MAILBOX);
    let list = table.get("list").map_or(Some(vec![]), |value| value.set(&words::ADDRESS));
    Some(MailConfig { smtp: smtp?, from: from?, list: list? })
}

/// `login` is none if no login is configured, and `Some(None)` if it could not be read.
fn smtp(value: &Value, login: Option<Option<Login>>) -> Option<Smtp> {
    let smtp = value.read(&urls::SMTP)?;
    let local = matches!(smtp.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    match smtp.security {
        Security::Plain if login.is_some() && !local => {
            value
                .report("the password would cross the network unencrypted; expected smtps:// or starttls://");
            None
        }
        Security::Plain | Security::Tls | Security::StartTls => match login {
            Some(login) => Some(Smtp { login: Some(login?), ..smtp }),
            None => Some(smtp),
        },
    }
}

fn search(table: &Table) -> Option<SearchConfig> {
    let default = SearchConfig::default();
    let probe_share = table.get("probe_share").and_then(|value| value.share());
    let null_runs = table.get("null_runs").and_then(|value| value.whole_number(0..=1000));
    let self_check = table.get("self_check").and_then(|value| value.share());
    Some(SearchConfig {
        probe_share: probe_share.unwrap_or(default.probe_share),
        null_runs: null_runs.unwrap_or(default.null_runs),
        self_check: self_check.unwrap_or(default.self_check),
    })
}

fn leases(table: &Table) -> Option<Leases> {
    const SILENCES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
    const PATIENCES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));

    let default = Leases::default();
    let within = |key, bounds: (Duration, Duration)| {
        let value = table.get(key)?;
        value.read_within(&words::DURATION, bounds.0..=bounds.1, duration_text)
    };
    Some(Leases {
        silence: within("silence", SILENCES).unwrap_or(default.silence),
        patience: within("patience", PATIENCES).unwrap_or(default.patience),
    })
}

fn retention(table: &Table) -> Option<Retention> {
    const LOGS: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(100 * 365 * 86_400));
    const SIZES: (u64, u64) = (0, 1 << 60);
    let default = Retention::default();
    let logs = |key| table.get(key)?.read_within(&words::DURATION, LOGS.0..=LOGS.1, duration_text);
    let size = |key| table.get(key)?.read_within(&words::SIZE, SIZES.0..=SIZES.1, words::size_text);
    let (green_logs, red_logs) = (logs("green_logs"), logs("red_logs"));
    let (artifacts, free) = (size("artifacts"), size("free"));
    Some(Retention {
        green_logs: green_logs.unwrap_or(default.green_logs),
        red_logs: red_logs.unwrap_or(default.red_logs),
        artifacts_bytes: artifacts.unwrap_or(default.artifacts_bytes),
        free_bytes: free.unwrap_or(default.free_bytes),
    })
}

fn trunk(table: &Table, folder: &Path, names: &mut Vec<Written>) -> Option<TrunkConfig> {
    const DEFAULT_POLL: Duration = Duration::from_secs(60);
    const POLLS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));

    let name = table.need("name", words::NAME.expected).and_then(|value| {
        names.extend(value.written());
        value.read(&words::NAME)
    });
    let git = table.required("git", &urls::GIT);
    let branches =
        table.need("branches", "a list of branches").and_then(|value| value.filled_set(&words::BRANCH));
    let base = table.optional("base", &words::BASE);
    let poll = table
        .get("poll")
        .and_then(|value| value.read_within(&words::DURATION, POLLS.0..=POLLS.1, duration_text));
    let platforms =
        table.need("platforms", "a list of platforms").and_then(|value| value.filled_set(&words::PLATFORM));
    let recipe = table
        .need("recipe", "a table [trunk.recipe] with its steps")
        .and_then(|value| recipe(value, RecipeOf::Trunk));
    let variants =
        table.get("variant").map_or(Some(vec![]), |value| variant::variants(&value, recipe.as_ref()));
    let caches = caches(table, RecipeOf::Trunk);
    let shared_caches = table.get("shared_caches").map_or(Some(vec![]), |value| value.set(&words::NAME));
    Some(TrunkConfig {
        name: name?,
        git: absolute(git?, folder),
        branches: branches?,
        base,
        poll: poll.unwrap_or(DEFAULT_POLL),
        platforms: platforms?,
        recipe: recipe?,
        variants: variants?,
        caches: caches?,
        shared_caches: shared_caches?,
    })
}
