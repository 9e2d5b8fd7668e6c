//! How many bytes a second each reader takes of what real runners printed, repeated to a report of a good size.

use std::fs;
use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::ReportFormat;
use trunkfarm_domain::readers::{detect, read};

const REPORT_BYTES: usize = 1 << 20;

/// One output for each reader; it is large beside what its runner prints once.
const OUTPUTS: [(&str, ReportFormat); 9] = [
    ("perl.tap", ReportFormat::Tap),
    ("surefire.xml", ReportFormat::Junit),
    ("unittest.txt", ReportFormat::Unittest),
    ("pytest-vrA.txt", ReportFormat::Pytest),
    ("trial.txt", ReportFormat::Trial),
    ("libtest.txt", ReportFormat::Libtest),
    ("go.json", ReportFormat::Go),
    ("luaunit-v.txt", ReportFormat::Luaunit),
    ("unittest.txt", ReportFormat::Lines),
];

#[expect(clippy::disallowed_methods, reason = "a bench may read what a rule may not")]
fn output(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/outputs");
    fs::read(folder.join(name)).expect("the corpus is part of the repository")
}

/// The output again and again. XML has one root, so what is repeated there lies within it.
fn report(name: &str, format: ReportFormat) -> Vec<u8> {
    let output = output(name);
    let (head, body, tail) = match format {
        ReportFormat::Junit => {
            let text = String::from_utf8(output).expect("this one is UTF-8");
            let from = text.find("<testcase").expect("a report of cases");
            let to = text.rfind("</testsuite>").expect("a report of a suite");
            (text[..from].into(), text[from..to].into(), text[to..].into())
        }
        _ => (vec![], output, vec![]),
    };
    let times = REPORT_BYTES / body.len();
    [head, body.repeat(times), tail].concat()
}

fn readers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    group.sample_size(20);
    for (name, format) in OUTPUTS {
        let report = report(name, format);
        let reading = read(format, &report[..]);
        assert!(format == ReportFormat::Lines || reading.cases.len() > 100, "{name} says too little");
        group.throughput(Throughput::Bytes(report.len() as u64));
        group
            .bench_function(format.as_str(), |bencher| bencher.iter(|| read(format, black_box(&report[..]))));
    }
    group.finish();
}

fn detection(criterion: &mut Criterion) {
    // No runner is recognised in it, so that all of it is looked through.
    let log = b"gcc -O2 -c lapi.c -o lapi.o\nlinking lua\n".repeat(REPORT_BYTES / 40);
    let mut group = criterion.benchmark_group("detect");
    group.sample_size(20).throughput(Throughput::Bytes(log.len() as u64));
    group.bench_function("a log of a compiler", |bencher| bencher.iter(|| detect(black_box(&log[..]))));
    group.finish();
}

criterion_group!(benches, readers, detection);
criterion_main!(benches);
