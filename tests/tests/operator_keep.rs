//! Retention: large files are removed when they are old or too many; and parts of files can be requested.

use std::fs;

use trunkfarm_tests::farm::Farm;

#[test]
fn a_search_rebuilds_the_toolchains_that_were_pruned() {
    let mut farm = Farm::create();
    farm.project("first", "echo 1..1; echo ok 1");
    let mut changes = Vec::new();
    for version in 1..=5 {
        farm.edit("lang", &format!("#!/bin/sh\nV={version}\n. \"$1\"\n"));
        changes.push(farm.commit(&format!("version {version}")));
    }
    farm.serve().worker("w1", 1);
    farm.until("all are built", trunkfarm_tests::farm::Farm::is_idle);
    let toolchains = |farm: &Farm| fs::read_dir(farm.path("data/objects/artifact")).unwrap().count();
    assert_eq!(toolchains(&farm), 6);
    farm.replace_in("farm.toml", "[search]", "[retention]\nartifacts = \"0B\"\n\n[search]");
    farm.until("the oldest and the newest are left", |farm| Ok(toolchains(farm) == 2));

    farm.project("second", "echo 1..1; if [ ${V:-0} -ge 3 ]; then echo not ok 1; else echo ok 1; fi");
    farm.until("the culprit is found on toolchains that were gone", |farm| {
        let breakages = farm.breakages("second")?;
        let mut suspects =
            breakages.iter().flat_map(|breakage| breakage["range"].as_array().into_iter().flatten());
        Ok(suspects.any(|it| it["standing"] == "culprit" && it["change"]["sha"] == changes[2].as_str()))
    });
}

#[test]
fn a_range_of_a_log_can_be_requested() {
    let mut farm = Farm::create();
    farm.project("first", "echo 0123456789");
    farm.replace_in("projects/first.toml", ", report = \"tap\"", "");
    farm.serve().worker("w1", 1);
    let base = farm.git(&farm.path("trunk"), &["rev-parse", "HEAD"]);
    let raw = format!("/builds/{}/log/0/raw", farm.build_number(&base, "first"));
    let (status, whole, tag) = farm.answer(&raw, &[]);
    assert_eq!((status, whole.as_str()), (200, "0123456789\n"));
    for (range, status, part, said) in [
        ("bytes=2-4", 206, "234", "bytes 2-4/11"),
        ("bytes=8-", 206, "89\n", "bytes 8-10/11"),
        ("bytes=-3", 206, "89\n", "bytes 8-10/11"),
        ("bytes=11-", 416, "", "bytes */11"),
    ] {
        let expected = (status, part.to_string(), said.to_string());
        assert_eq!(farm.answer(&raw, &[("range", range)]), expected, "{range}");
    }
    let (status, ..) = farm.answer(&raw, &[("range", "bytes=2-4"), ("if-range", &tag)]);
    assert_eq!(status, 206);
    let (status, ..) = farm.answer(&raw, &[("range", "bytes=2-4"), ("if-range", "\"other\"")]);
    assert_eq!(status, 200, "it is not what the rest was of");
}
