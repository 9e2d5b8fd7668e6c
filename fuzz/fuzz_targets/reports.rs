//! Every report reader on the same bytes: it stays within its bounds, says the same however the bytes arrive, and what
//! it says makes results that a master takes.
#![no_main]

use std::io::{self, BufReader, Read};

use domain::readers::{
    MAX_CASE_TEXT_BYTES, MAX_CASES, MAX_NAME_BYTES, MAX_WARNINGS, Patterns, Reading, detect, read,
    read_by_patterns, signature, tidy,
};
use domain::results::{CaseList, MAX_RESULTS_BYTES, Results, collect, count_repeats};
use libfuzzer_sys::fuzz_target;
use protocol::{ReportFormat, ReportPatterns, Verdict};

/// Gives no more than so many bytes at once.
struct Dripping<'a> {
    bytes: &'a [u8],
    at_once: usize,
}

impl Read for Dripping<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = out.len().min(self.at_once);
        self.bytes.read(&mut out[..len])
    }
}

fn dripping(bytes: &[u8]) -> BufReader<Dripping<'_>> {
    let at_once = 1 + bytes.first().map_or(0, |byte| usize::from(*byte) % 13);
    BufReader::with_capacity(1 + at_once / 2, Dripping { bytes, at_once })
}

fn is_bounded(reading: &Reading) {
    assert!(reading.cases.len() <= MAX_CASES && reading.warnings.len() <= MAX_WARNINGS);
    for warning in &reading.warnings {
        assert!(warning.len() < 600 && !warning.contains(char::is_control), "{warning:?}");
    }
    for case in &reading.cases {
        assert!(case.name.len() <= MAX_NAME_BYTES && tidy(&case.name) == case.name, "{:?}", case.name);
        assert!(case.text.as_ref().is_none_or(|text| text.len() <= MAX_CASE_TEXT_BYTES));
        assert_ne!(case.verdict, Verdict::Missing, "only a comparison can tell what is missing");
        case.text.as_deref().and_then(signature);
    }
}

fn makes_results(reading: Reading) {
    let (list, results) = collect(reading.cases, reading.complete);
    is_taken(&list, &results);
    let (list, results) = count_repeats(list, results);
    is_taken(&list, &results);
}

fn is_taken(list: &CaseList, results: &Results) {
    assert_eq!(results.check(list), Ok(()));
    assert_eq!(CaseList::from_text(list.to_text().to_string()).as_ref(), Ok(list));
    let uploaded = serde_json::to_string(results).expect("results are JSON");
    assert!(uploaded.len() <= MAX_RESULTS_BYTES);
    assert_eq!(&serde_json::from_str::<Results>(&uploaded).expect("our own JSON"), results);
}

/// Patterns that the first line holds, for what follows it; they are a stranger's, too.
fn is_read_by_patterns(bytes: &[u8]) {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let pattern = |text: &str| format!("(?P<case>{text})");
    let Ok(text) = std::str::from_utf8(first) else { return };
    let patterns = ReportPatterns {
        pass: Some("^ok (?P<case>.+)".into()),
        fail: pattern(text),
        skip: Some("^skip (?P<case>.+)".into()),
        end: Some("^(?P<total>[0-9]+)$".into()),
    };
    let Ok(compiled) = Patterns::compile(&patterns) else { return };
    let reading = read_by_patterns(&compiled, bytes);
    is_bounded(&reading);
    assert_eq!(reading, read_by_patterns(&compiled, dripping(bytes)), "patterns by the drop");
    makes_results(reading);
}

fuzz_target!(|bytes: &[u8]| {
    is_read_by_patterns(bytes);
    assert_eq!(detect(bytes), detect(dripping(bytes)));
    for format in ReportFormat::ALL {
        let reading = read(format, bytes);
        is_bounded(&reading);
        assert_eq!(reading, read(format, dripping(bytes)), "{format:?} by the drop");
        makes_results(reading);
    }
});
