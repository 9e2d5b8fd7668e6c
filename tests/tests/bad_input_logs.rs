//! Hostile logs, from a real step on a real worker: they are inert on every page, and bounded on disk and in memory.

use serde_json::Value;
use trunkfarm_tests::farm::Farm;

/// However much a step prints, a worker and a master each use less memory than this.
const MAX_MEMORY_BYTES: u64 = 200 << 20;
/// Maximal length of the line in a raw log that shows that something was left out.
const MAX_NOTE_BYTES: usize = 100;

/// A farm that has run one step, which printed a log.
struct Printed {
    farm: Farm,
    build: Value,
}

/// Runs this script with this limit for its log.
fn printed(script: &str, kept: &str) -> Printed {
    let mut farm = Farm::create();
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    farm.project("loud", script);
    farm.replace_in("projects/loud.toml", ", report = \"tap\"", "");
    let limits = format!("time = \"100s\", silence = \"100s\", log = \"{kept}\"");
    farm.replace_in("projects/loud.toml", "time = \"20s\", silence = \"10s\"", &limits);
    farm.serve().worker("w1", 1);
    let build = farm.finished_build(&base, "loud");
    Printed { farm, build }
}

impl Printed {
    fn page(&self) -> String {
        self.farm.get(&format!("/builds/{}/log/0", self.build["id"])).unwrap()
    }

    fn facts(&self) -> Value {
        self.farm.json(&format!("/builds/{}/log/0", self.build["id"])).unwrap()
    }

    /// The raw log, and the values of these headers.
    fn raw<const N: usize>(&self, headers: [&str; N]) -> (Vec<u8>, [String; N]) {
        let url = self.farm.url(&format!("/builds/{}/log/0/raw", self.build["id"]));
        let mut answer = ureq::get(url).call().unwrap();
        let said = headers.map(|name| {
            answer.headers().get(name).map_or(String::new(), |value| value.to_str().unwrap().to_string())
        });
        (answer.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap(), said)
    }

    fn assert_memory_is_bounded(&mut self) {
        let peaks =
            [self.farm.master().peak_memory_bytes(), self.farm.worker_process("w1").peak_memory_bytes()];
        assert!(peaks.iter().all(|peak| *peak < MAX_MEMORY_BYTES), "master and worker held {peaks:?} bytes");
    }
}

/// Asserts that the text runs, hides and moves nothing in a browser.
fn assert_inert(page: &str) {
    assert!(!page.contains("<script>alert"), "markup of the log is markup of the page");
    let control = page.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
    assert_eq!(control, None, "a control character of the log is in the page");
}

#[test]
fn markup_in_a_log_is_shown_as_text() {
    let printed = printed("echo '<script>alert(1)</script><img src=x onerror=alert(2)>'", "1MiB");
    for page in [printed.page(), printed.farm.get(&format!("/builds/{}", printed.build["id"])).unwrap()] {
        assert_inert(&page);
        assert!(!page.contains("<img"), "{page}");
        assert!(page.contains("alert(1)"), "it is shown all the same: {page}");
    }
    let line = &printed.facts()["lines"][0]["pieces"][0]["text"];
    assert_eq!(line, "<script>alert(1)</script><img src=x onerror=alert(2)>");
}

#[test]
fn the_raw_log_has_every_byte_and_is_never_rendered_as_a_page() {
    let script = "printf '<script>alert(1)</script>\\0\\033[31m\\r\\n\\303'";
    let (bytes, [kind, sniff, disposition, policy]) = printed(script, "1MiB").raw([
        "content-type",
        "x-content-type-options",
        "content-disposition",
        "content-security-policy",
    ]);
    assert_eq!(bytes, b"<script>alert(1)</script>\0\x1b[31m\r\n\xc3");
    assert_eq!((kind.as_str(), sniff.as_str()), ("text/plain; charset=utf-8", "nosniff"));
    assert!(disposition.starts_with("attachment; "), "{disposition}");
    assert!(policy.contains("default-src 'none'"), "{policy}");
}

#[test]
fn escapes_and_control_characters_have_no_effect() {
    let printed = printed(
        "printf '\\033[31mred\\033[0m \\033]0;title\\007bell\\007 nul\\0 \\033[2J\\033[9999A \\302\\233 \\342\\200\\256\\n'",
        "1MiB",
    );
    let page = printed.page();
    assert_inert(&page);
    assert!(page.contains("red") && page.contains("^@") && page.contains("^G"), "{page}");
    assert!(!page.contains("title</") && !page.contains('\u{202e}'), "{page}");
}

#[test]
fn after_a_lone_carriage_return_the_last_text_is_shown() {
    let printed = printed("printf '10%%\\r20%%\\rdone\\nwindows\\r\\n'", "1MiB");
    assert_inert(&printed.page());
    let facts = printed.facts();
    let text = |line: usize| -> String {
        let pieces = facts["lines"][line]["pieces"].as_array().unwrap();
        pieces.iter().filter_map(|piece| piece["text"].as_str()).collect()
    };
    assert_eq!((text(0), text(1)), ("^M×2done".to_string(), "windows".to_string()));
    assert_eq!(facts["line_count"], 2);
}

#[test]
fn invalid_utf8_is_shown_with_replacement_characters() {
    let printed = printed("printf 'caf\\303\\n\\377\\376\\nend \\342\\202'", "1MiB");
    let page = printed.page();
    assert_inert(&page);
    assert!(page.contains("caf\u{fffd}") && page.contains("end \u{fffd}"), "{page}");
}

#[test]
fn one_line_of_200_mb_is_cut_at_the_limit_and_does_not_fill_memory() {
    let script = "head -c 200000000 /dev/zero | tr '\\0' x; echo; echo the end";
    let mut printed = printed(script, "21MiB");
    assert_eq!(printed.build["outcome"], "passed", "less than ten times the limit is no crime");
    let page = printed.page();
    assert!(page.len() < 1 << 20, "a page of {} bytes", page.len());
    assert!(page.contains("are missing from the middle"), "it says that it is cut");
    let end = printed.farm.get(&format!("/builds/{}/log/0?from=2", printed.build["id"])).unwrap();
    assert!(page.contains("?from=2") && end.contains("the end"), "the pager leads to the end");
    let (raw, []) = printed.raw([]);
    assert!(raw.len() <= (21 << 20) + MAX_NOTE_BYTES, "{} bytes are kept", raw.len());
    assert!(raw.windows(12).any(|bytes| bytes == b" are missing"), "it says where something is missing");
    assert!(raw.starts_with(b"xxx") && raw.ends_with(b"x\nthe end\n"));
    printed.assert_memory_is_bounded();
}

#[test]
fn a_step_that_prints_forever_is_stopped_at_ten_times_the_limit() {
    let mut printed = printed("yes '<script>alert(1)</script>'", "64KiB");
    assert_eq!(printed.build["cause"], "log-limit");
    assert_eq!(
        printed.build["outcome"], "infra",
        "nobody is accused where the step never came to its end before"
    );
    assert_inert(&printed.page());
    let (raw, []) = printed.raw([]);
    assert!(raw.len() <= (64 << 10) + MAX_NOTE_BYTES, "{} bytes are kept", raw.len());
    printed.assert_memory_is_bounded();
}

#[test]
fn a_window_outside_of_a_log_is_answered_without_an_error() {
    let printed = printed("echo one", "1MiB");
    let id = &printed.build["id"];
    for (path, status) in [
        (format!("/builds/{id}/log/9"), 404),
        (format!("/builds/{id}/log/65536"), 404),
        (format!("/builds/{id}/log/-1"), 404),
        (format!("/builds/{id}/log/..%2f..%2ffarm.db/raw"), 404),
        (format!("/builds/{id}/log/0?from=18446744073709551615"), 200),
        (format!("/builds/{id}/log/0?from=x"), 400),
        ("/builds/9223372036854775807".to_string(), 404),
        ("/builds/9223372036854775808".to_string(), 404),
    ] {
        let got = match ureq::get(printed.farm.url(&path)).call() {
            Ok(answer) => answer.status().as_u16(),
            Err(ureq::Error::StatusCode(status)) => status,
            Err(error) => panic!("{path}: {error}"),
        };
        assert_eq!(got, status, "{path}");
    }
}
