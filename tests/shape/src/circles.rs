//! Circles among files, and how many floors are left when each circle counts as one file.

use std::collections::BTreeSet;

use crate::edges::Edges;
use crate::source::Crate;

pub struct Circles {
    /// Each with its files in order.
    pub circles: Vec<BTreeSet<usize>>,
    /// Files on the longest way down.
    pub floors: usize,
}

pub fn of(files: usize, edges: &Edges) -> Circles {
    let mut reaches = vec![vec![false; files]; files];
    edges.keys().for_each(|&(from, to)| reaches[from][to] = true);
    for over in 0..files {
        let onward = reaches[over].clone();
        for from in (0..files).filter(|&from| from != over) {
            if reaches[from][over] {
                reaches[from].iter_mut().zip(&onward).for_each(|(reach, &on)| *reach |= on);
            }
        }
    }
    let circle = |file: usize| (0..files).filter(|&to| reaches[file][to] && reaches[to][file]).collect();
    let circles: BTreeSet<BTreeSet<usize>> =
        (0..files).map(circle).filter(|it: &BTreeSet<_>| !it.is_empty()).collect();
    let mut heights = vec![0; files];
    let floors = (0..files).map(|file| height(file, &reaches, &mut heights)).max().unwrap_or(0);
    Circles { circles: circles.into_iter().collect(), floors }
}

fn height(file: usize, reaches: &[Vec<bool>], heights: &mut [usize]) -> usize {
    if heights[file] == 0 {
        let below = (0..reaches.len()).filter(|&to| reaches[file][to] && !reaches[to][file]);
        heights[file] = 1 + below.map(|to| height(to, reaches, heights)).max().unwrap_or(0);
    }
    heights[file]
}

impl Circles {
    pub fn files(&self) -> usize {
        self.circles.iter().map(BTreeSet::len).sum()
    }

    pub fn violations(&self, krate: &Crate, edges: &Edges) -> Vec<String> {
        let mut out = Vec::new();
        for circle in &self.circles {
            let path = |file: usize| &krate.files[file].path;
            let first = circle.first().map_or("", |&file| path(file));
            let mend = "move what they share into a file below them, or turn one of these lines round";
            out.push(format!("{first}:1: {} files import each other in a circle; {mend}", circle.len()));
            for (&(from, to), (line, name)) in edges {
                if circle.contains(&from) && circle.contains(&to) {
                    out.push(format!("    {}:{line}: `{name}` is defined in {}", path(from), path(to)));
                }
            }
        }
        out
    }
}
