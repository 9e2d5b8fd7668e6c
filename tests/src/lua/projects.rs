//! The downstream projects: their sources and registrations from examples/lua.

pub(super) struct Project {
    pub name: &'static str,
    /// `projects/NAME.toml` of the farm.
    pub registration: &'static str,
    own: &'static [(&'static str, &'static str)],
}

/// Nearly every suite reports its cases with this file; each repository has a copy.
const TAP: (&str, &str) = ("test/tap.lua", include_str!("../../../examples/lua/tap.lua"));

impl Project {
    /// The path and text of each file of its repository.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.own.iter().copied().chain([TAP])
    }
}

macro_rules! project {
    ($name:literal: $($path:literal),+) => {
        Project {
            name: $name,
            registration: include_str!(concat!("../../../examples/lua/farm/projects/", $name, ".toml")),
            own: &[$((
                $path,
                include_str!(concat!("../../../examples/lua/projects/", $name, "/", $path)),
            )),+],
        }
    };
}

pub(super) const ALL: &[Project] = &[
    project!("cage": "cage.lua", "test/run.lua"),
    project!("csv": "csv.lua", "test/run.lua"),
    project!("gather": "gather.c", "Makefile", "test/run.lua"),
    project!("ini": "ini.lua", "test/run.lua"),
    project!("ledger": "ledger.lua", "test/junit.lua", "test/run.lua"),
    project!("pretty": "lexer.lua", "scope.lua", "pretty.lua", "test/run.lua"),
    project!("retry": "retry.lua", "test/run.lua"),
    project!("template": "template.lua", "test/run.lua"),
    project!("vector": "vector.lua", "test/run.lua"),
];
