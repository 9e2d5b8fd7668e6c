//! Which file names an item of which other file of its crate.

use std::collections::BTreeMap;

use crate::names::{Names, Target};
use crate::source::Crate;
use crate::tokens;

/// From one file to another: the first line that makes the edge, and what it names there.
pub type Edges = BTreeMap<(usize, usize), (usize, String)>;

pub fn of(krate: &Crate) -> Edges {
    let names = Names::new(krate);
    let mut found = Vec::new();
    let mut paths_of = vec![Vec::new(); krate.modules.len()];
    for (file, source) in krate.files.iter().enumerate() {
        for (path, line) in tokens::paths(&source.tokens) {
            // A module comes behind those around it.
            let within = krate.modules.iter().rposition(|it| it.file == file && it.lines.contains(&line));
            paths_of[within.expect("each file is a module")].push((path, line));
        }
    }
    for (id, (module, paths)) in krate.modules.iter().zip(paths_of).enumerate() {
        for import in names.scopes[id].imports.iter().filter(|import| !import.is_reexport) {
            match names.resolve(id, &import.path) {
                Target::File(to) => found.push((module.file, to, import.line, import.path.join("::"))),
                // Its names below say more; where none is known, the module stands for what it gives.
                Target::Module(of) if import.is_glob => {
                    if !paths.iter().any(|(path, _)| names.is_from_glob(id, of, path)) {
                        found.push((
                            module.file,
                            krate.modules[of].file,
                            import.line,
                            import.path.join("::"),
                        ));
                    }
                }
                // The paths through an imported module say more than its import.
                Target::Module(_) | Target::Outside => {}
            }
        }
        for (path, line) in &paths {
            if let Target::File(to) = names.resolve(id, path) {
                found.push((module.file, to, *line, path.join("::")));
            }
        }
    }
    let mut edges = Edges::new();
    found.sort_by_key(|(_, _, line, _)| *line);
    for (from, to, line, name) in found.into_iter().filter(|(from, to, ..)| from != to) {
        edges.entry((from, to)).or_insert((line, name));
    }
    edges
}
