//! All measures of a workspace: one table, then what breaks a rule.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::retired::{Identifiers, Retired};
use crate::source::{Crate, lines_below};
use crate::stages::Stages;
use crate::types::Types;
use crate::{casts, circles, dependencies, edges, functions, retired, stages, types};

const COLUMNS: [&str; 10] =
    ["lines", "tests", "files", "edges", "in circles", "floors", "types", "casts", "too long", "too wide"];

#[derive(Default)]
pub struct Report {
    rows: Vec<(String, [usize; COLUMNS.len()])>,
    notes: Vec<String>,
    /// Each with its rule.
    pub violations: Vec<(&'static str, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    collisions: BTreeMap<String, String>,
    dependencies: BTreeMap<String, String>,
}

pub fn measure(root: &Path) -> Result<Report> {
    let stages: Stages = rules(root, "stages.toml")?;
    let allowed: Allowed = rules(root, "allowed.toml")?;
    let retired: Retired = rules(root, "retired.toml")?;
    let members = dependencies::members(root)?;
    let mut report = Report::default();
    let (mut types, mut casts, mut identifiers) = (Types::new(), Vec::new(), Identifiers::new());
    for name in members.iter().filter(|name| !name.starts_with("tests")) {
        let krate = Crate::load(root, name)?;
        let edges = edges::of(&krate);
        let circles = circles::of(krate.files.len(), &edges);
        let functions = functions::of(&krate);
        let casts_here = casts::of(&krate);
        let figures = [
            krate.files.iter().map(|file| file.lines).sum(),
            krate.test_lines,
            krate.files.len(),
            edges.len(),
            circles.files(),
            circles.floors,
            types::add(&krate, &mut types),
            casts_here.len(),
            functions.long.len(),
            functions.wide.len(),
        ];
        report.rows.push((name.clone(), figures));
        casts.extend(casts_here);
        retired::add(&krate, &mut identifiers);
        report.add("circles", circles.violations(&krate, &edges));
        report.add("stages", stages::violations(&krate, &edges, &stages));
        report.add("long functions", functions.long);
        report.add("parameters", functions.wide);
        report.add("module files", krate.misplaced);
    }
    let unknown = stages.keys().filter(|name| !members.contains(name));
    let unknown =
        unknown.map(|name| format!("tests/shape/stages.toml: `{name}` is no member; correct the name"));
    report.add("stages", unknown.collect());
    let test_lines = lines_below(&root.join("tests"))?;
    report
        .rows
        .push(("tests".to_owned(), COLUMNS.map(|column| if column == "tests" { test_lines } else { 0 })));

    let (shared_names, collisions) = types::check(&types, &allowed.collisions);
    let (most_retired, retired) = retired.check(&identifiers);
    let lines: usize = report.rows.iter().map(|(_, figures)| figures[0]).sum();
    report.notes = vec![
        shared_names,
        format!("casts per 1000 lines: {:.1}", 1000.0 * casts.len() as f64 / lines.max(1) as f64),
        format!("most frequent retired words: {most_retired}"),
    ];
    report.add("type names", collisions);
    report.add("casts", casts::violations(&casts));
    report.add("retired words", retired);
    report.add("dependencies", dependencies::violations(root, &members, &allowed.dependencies)?);
    report.violations.sort_by_key(|(rule, _)| *rule);
    Ok(report)
}

fn rules<T: DeserializeOwned>(root: &Path, name: &str) -> Result<T> {
    let path = root.join("tests/shape").join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("parsing {}", path.display()))
}

impl Report {
    fn add(&mut self, rule: &'static str, violations: Vec<String>) {
        self.violations.extend(violations.into_iter().map(|violation| (rule, violation)));
    }

    fn sum(&self, column: usize) -> usize {
        let figures = self.rows.iter().map(|(_, figures)| figures[column]);
        // The floors of one crate do not stand on those of another.
        if COLUMNS[column] == "floors" { figures.max().unwrap_or(0) } else { figures.sum() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:9}{}", "crate", COLUMNS.map(|column| format!("{column:>11}")).concat())?;
        let sum = ("sum".to_owned(), std::array::from_fn(|column| self.sum(column)));
        for (name, figures) in self.rows.iter().chain([&sum]) {
            writeln!(f, "{name:9}{}", figures.map(|figure| format!("{figure:>11}")).concat())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))?;
        for group in self.violations.chunk_by(|one, next| one.0 == next.0) {
            writeln!(f, "\n{}:", group[0].0)?;
            group.iter().try_for_each(|(_, violation)| writeln!(f, "{violation}"))?;
        }
        Ok(())
    }
}
