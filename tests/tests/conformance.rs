//! `docs/protocol.md` is sufficient to write a worker: one in Python, with only its standard library, runs a build.

use std::process::Command;

use trunkfarm_tests::farm::Farm;

#[test]
fn a_worker_written_from_the_protocol_document_joins_disconnects_resumes_and_builds() {
    let mut farm = Farm::create();
    farm.configure("null_runs = 4", "null_runs = 0");
    farm.project("polite", "for i in $(seq 50); do echo \"# é $i\"; done; echo 1..2; echo 'ok 1 - greets'; echo 'ok 2 - parts'\n");
    farm.serve();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/worker.py");
    let mut command = Command::new("python3");
    // Python's compiled files do not belong in the source tree.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(script).arg(farm.url("")).arg(farm.path("python")).arg("python");
    farm.start_server("python", &mut command);
    let log = farm.path("python.log");
    let said = move || std::fs::read_to_string(&log).unwrap_or_default();
    farm.until("it has asked for a place", |_| Ok(said().contains("code: ")));
    let text = said();
    let code = text.lines().find_map(|line| line.strip_prefix("code: ")).unwrap();
    farm.approve(code, "maker");
    farm.until("it has built what it was to build", |_| {
        anyhow::ensure!(!said().contains("Traceback"), "{}", said());
        Ok(said().contains("done"))
    });
    assert!(said().contains("broken off"));
    for (builder, cases) in [("toolchain", 0), ("polite", 3)] {
        let page = farm.json("/waterfall").unwrap();
        let columns = page["columns"].as_array().unwrap();
        let at = columns.iter().position(|column| column["name"] == builder).unwrap();
        let build = farm.json(&format!("/builds/{}", page["rows"][0]["cells"][at]["build"])).unwrap();
        assert_eq!(build["outcome"], "passed", "{build}");
        assert_eq!(build["attempts"].as_array().map(Vec::len), Some(1), "nothing was begun again");
        if cases > 0 {
            assert_eq!(build["counts"]["passed"], cases, "{build}");
            let log = farm.get(&format!("/builds/{}/log/0/raw", build["id"])).unwrap();
            let expected: String = (1..=50).map(|i| format!("# é {i}\n")).collect();
            assert_eq!(log, format!("{expected}1..2\nok 1 - greets\nok 2 - parts\n"));
        }
    }
}
