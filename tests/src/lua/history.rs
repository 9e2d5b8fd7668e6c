//! The trunk's history: each release as it was published, and small changes of our own in between.
//! A release replaces all sources, like an import; our own files (main.c, Makefile, docs) stay.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// All files of one commit, by path.
pub(super) type Tree = BTreeMap<String, Vec<u8>>;

pub(super) enum Step {
    /// The sources of a release, from the folder `lua-VERSION`.
    Release(&'static str),
    Ours {
        title: &'static str,
        edit: Edit,
    },
}

pub(super) enum Edit {
    Add {
        path: &'static str,
        text: &'static str,
    },
    /// `old` occurs in the file exactly once.
    Replace {
        path: &'static str,
        old: &'static str,
        new: &'static str,
    },
}

const MAIN_C: &str = include_str!("../../../examples/lua/trunk/main.c");
const MAKEFILE: &str = include_str!("../../../examples/lua/trunk/Makefile");

impl Step {
    pub(super) fn title(&self) -> String {
        match self {
            Step::Release(version) => format!("Lua {version}"),
            Step::Ours { title, .. } => title.to_string(),
        }
    }

    /// Changes the tree of the commit before into the tree of this one. `sources` contains the folders of the releases.
    pub(super) fn apply(&self, tree: &mut Tree, sources: &Path) -> anyhow::Result<()> {
        match self {
            Step::Release(version) => import(tree, &sources.join(format!("lua-{version}"))),
            Step::Ours { edit, .. } => edit.apply(tree),
        }
    }
}

impl Edit {
    fn apply(&self, tree: &mut Tree) -> anyhow::Result<()> {
        match *self {
            Edit::Add { path, text } => {
                ensure!(tree.insert(path.to_string(), text.into()).is_none(), "{path} is there already");
            }
            Edit::Replace { path, old, new } => {
                let content = tree.get_mut(path).with_context(|| format!("there is no {path}"))?;
                let text = std::str::from_utf8(content).with_context(|| format!("reading {path}"))?;
                match text.matches(old).count() {
                    1 => *content = text.replacen(old, new, 1).into_bytes(),
                    times => bail!("{path} holds {old:?} {times} times, expected once"),
                }
            }
        }
        Ok(())
    }
}

fn import(tree: &mut Tree, release: &Path) -> anyhow::Result<()> {
    let is_source = |path: &str| path != "main.c" && (path.ends_with(".c") || path.ends_with(".h"));
    tree.retain(|path, _| !is_source(path));
    tree.entry("main.c".into()).or_insert_with(|| MAIN_C.into());
    tree.entry("Makefile".into()).or_insert_with(|| MAKEFILE.into());
    for file in fs::read_dir(release).with_context(|| format!("reading {}", release.display()))? {
        let file = file?;
        let name = file.file_name().into_string().ok().context("a source file's name is not UTF-8")?;
        ensure!(is_source(&name), "{name} is not a source file of Lua");
        tree.insert(name, fs::read(file.path())?);
    }
    Ok(())
}

const fn add(title: &'static str, path: &'static str, text: &'static str) -> Step {
    Step::Ours { title, edit: Edit::Add { path, text } }
}

const fn replace(title: &'static str, path: &'static str, old: &'static str, new: &'static str) -> Step {
    Step::Ours { title, edit: Edit::Replace { path, old, new } }
}

/// Oldest first.
pub(super) const ALL: &[Step] = &[
    Step::Release("5.1.5"),
    add("README: say what this is", "README.md", README),
    replace(
        "lauxlib: say what the free list is",
        "lauxlib.c",
        "/* free list of references */",
        "/* index of the list of free references, which lies in the table itself */",
    ),
    Step::Release("5.2.4"),
    replace("Makefile: let the compiler warn", "Makefile", "CFLAGS  = -O1", "CFLAGS  = -O1 -Wall"),
    replace(
        "lmathlib: name the degrees of half a turn",
        "lmathlib.c",
        "#define RADIANS_PER_DEGREE\t((lua_Number)(PI/180.0))",
        "#define HALF_TURN\t180.0\n#define RADIANS_PER_DEGREE\t((lua_Number)(PI/HALF_TURN))",
    ),
    replace(
        "ltablib: unpack tells that the stack is the limit",
        "ltablib.c",
        "\"too many results to unpack\"",
        "\"too many results to unpack: they do not fit the stack\"",
    ),
    Step::Release("5.3.6"),
    add("docs: how to build", "docs/building.md", BUILDING),
    // It forgets the loop below: this change does not compile, the next one repairs it.
    replace(
        NOT_COMPILING,
        "lstring.c",
        "(const char *str, size_t l, unsigned int seed) {\n  unsigned int h = seed ^ cast(unsigned int, l);",
        "(const char *str, size_t len, unsigned int seed) {\n  unsigned int h = seed ^ cast(unsigned int, len);",
    ),
    replace(
        COMPILING_AGAIN,
        "lstring.c",
        "(l >> LUAI_HASHLIMIT) + 1;\n  for (; l >= step; l -= step)\n    h ^= ((h<<5) + (h>>2) + cast_byte(str[l - 1]));",
        "(len >> LUAI_HASHLIMIT) + 1;\n  for (; len >= step; len -= step)\n    h ^= ((h<<5) + (h>>2) + cast_byte(str[len - 1]));",
    ),
    replace(
        "liolib: say why a mode may end in 'b'",
        "liolib.c",
        "/* accepted extensions to 'mode' in 'fopen' */",
        "/* accepted extensions to 'mode' in 'fopen': ISO C knows 'b' only, and POSIX ignores it */",
    ),
    Step::Release("5.4.9"),
    replace(
        "lgc: start the next cycle a little earlier",
        "lgc.h",
        "LUAI_GCPAUSE    200",
        "LUAI_GCPAUSE    180",
    ),
    // It breaks quietly: where the text ends an empty match is still to be found.
    replace(
        QUIETLY_BROKEN,
        "lstrlib.c",
        "if (init > ls) {  /* start after string's end? */",
        "if (init >= ls) {  /* nothing left to search? */",
    ),
    replace(
        "lutf8lib: say where a position comes from",
        "lutf8lib.c",
        "/* from strlib */",
        "/* the same as 'posrelat' in lstrlib.c */",
    ),
    replace(
        "loadlib: tell which loader is not there",
        "loadlib.c",
        "\"no field package.preload['%s']\"",
        "\"no loader in package.preload['%s']\"",
    ),
    replace(
        QUIETLY_MENDED,
        "lstrlib.c",
        "if (init >= ls) {  /* nothing left to search? */",
        "if (init > ls) {  /* start after string's end? */",
    ),
    replace(
        "Makefile: uninstall",
        "Makefile",
        "clean:\n\trm -f lua *.o\n\n.PHONY: install clean\n",
        "uninstall:\n\trm -f $(PREFIX)/bin/lua $(addprefix $(PREFIX)/include/,$(HEADERS))\n\n\
         clean:\n\trm -f lua *.o\n\n.PHONY: install uninstall clean\n",
    ),
    Step::Release("5.5.1"),
    add("docs: what each release took away", "docs/gone.md", GONE),
    replace(
        "lbaselib: a function for what stands between values",
        "lbaselib.c",
        "static int luaB_print (lua_State *L) {",
        "static void write_separator (void) {\n  lua_writestring(\"\\t\", 1);\n}\n\n\n\
         static int luaB_print (lua_State *L) {",
    ),
    replace(
        "lbaselib: print uses it",
        "lbaselib.c",
        "      lua_writestring(\"\\t\", 1);  /* add a tab before it */",
        "      write_separator();  /* add a tab before it */",
    ),
    replace(
        GLOBAL_RESERVED,
        "Makefile",
        "DEFINES = -DLUA_USE_LINUX",
        "DEFINES = -DLUA_USE_LINUX -DLUA_COMPAT_GLOBAL=0",
    ),
    replace(
        "ltablib: say which operations need which functions",
        "ltablib.c",
        "** (some functions only need some of them)",
        "** (some functions only need some of them: 'concat' reads, 'insert' reads and writes)",
    ),
    replace(
        "lmathlib: random tells that low and high are the wrong way round",
        "lmathlib.c",
        "\"interval is empty\"",
        "\"interval is empty: low is above high\"",
    ),
];

// The titles of the changes that have an expected effect.
pub(super) const NOT_COMPILING: &str = "lstring: call a length len";
pub(super) const COMPILING_AGAIN: &str = "lstring: call it len in the loop, too";
pub(super) const QUIETLY_BROKEN: &str = "lstrlib: stop at once when nothing is left to search";
pub(super) const QUIETLY_MENDED: &str = "lstrlib: an empty match may stand behind the last byte";
pub(super) const GLOBAL_RESERVED: &str = "Makefile: make global a reserved word";

const README: &str = "\
# Lua, from 5.1 to 5.5

The released sources in their order, with a small `main.c` and a `Makefile`, and a few changes between them.
It exists to be tested by a build farm; for Lua itself go to its home page.
";

const BUILDING: &str = "\
# Building

    make -j2
    make install PREFIX=$HOME/lua

The headers are installed, too: C modules are compiled against them and need no library.
";

const GONE: &str = "\
# Finding each release took away

- 5.2: `setfenv`, `unpack` (it is `table.unpack` now), `luaL_register`
- 5.3: `math.pow`; 10/2 is written 5.0
- 5.4: the old form of `lua_resume`
- 5.5: assignments to the variable of a `for`; perhaps `global` as a name
";
