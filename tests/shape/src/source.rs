//! Reads a crate the way the compiler does: from its roots along each `mod`, without what only tests see.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::Item;
use syn::spanned::Spanned;
use walkdir::WalkDir;

#[derive(Default)]
pub struct Crate {
    pub name: String,
    pub files: Vec<File>,
    pub modules: Vec<Module>,
    pub test_lines: usize,
    /// `foo.rs` beside a folder `foo/`, and files that no `mod` names.
    pub misplaced: Vec<String>,
    /// Paths without `.rs`: the file of this name and what lies in the folder of this name are for tests.
    test_modules: Vec<PathBuf>,
}

pub struct File {
    /// From the workspace's root on.
    pub path: String,
    pub lines: usize,
    pub tokens: TokenStream,
}

/// A file's top level, or an inline `mod` in it. Its own `mod`s are in `children` instead of `items`.
pub struct Module {
    pub file: usize,
    pub lines: RangeInclusive<usize>,
    pub parent: Option<usize>,
    pub children: BTreeMap<String, usize>,
    pub items: Vec<Item>,
}

impl Crate {
    pub fn load(root: &Path, name: &str) -> Result<Crate> {
        let mut krate = Crate { name: name.to_owned(), ..Crate::default() };
        let source = root.join(name).join("src");
        for file in ["lib.rs", "main.rs"].map(|file| source.join(file)) {
            if file.exists() {
                krate.read(root, &file, None, &source)?;
            }
        }
        for path in rust_files(&source) {
            let path = path?;
            let (shown, stem) = (shown(root, &path), path.with_extension(""));
            if stem.is_dir() {
                let mend = format!("move it to {}/mod.rs", shown.trim_end_matches(".rs"));
                krate.misplaced.push(format!("{shown}:1: lies beside a folder of its name; {mend}"));
            }
            if krate.files.iter().all(|file| file.path != shown) {
                if !krate.test_modules.iter().any(|module| stem.starts_with(module)) {
                    krate
                        .misplaced
                        .push(format!("{shown}:1: no `mod` names this file; name it, or remove it"));
                }
                krate.test_lines += fs::read_to_string(&path)?.lines().count();
            }
        }
        krate.test_lines += lines_below(&root.join(name).join("tests"))?;
        Ok(krate)
    }

    fn read(&mut self, root: &Path, path: &Path, parent: Option<usize>, folder: &Path) -> Result<usize> {
        let path_shown = shown(root, path);
        let tokens = tokens_of(path)?;
        let lines = fs::read_to_string(path)?.lines().count();
        let mut tests = Tests::default();
        let tokens = tests.take_out(tokens);
        self.test_lines += tests.lines;
        self.test_modules.extend(tests.modules.iter().map(|name| folder.join(name)));
        let parsed =
            syn::parse2::<syn::File>(tokens.clone()).with_context(|| format!("parsing {path_shown}"))?;
        self.files.push(File { path: path_shown, lines: lines - tests.lines, tokens });
        let module = (self.files.len() - 1, 0..=usize::MAX, parent);
        self.module(root, module, parsed.items, folder)
    }

    fn module(
        &mut self,
        root: &Path,
        (file, lines, parent): (usize, RangeInclusive<usize>, Option<usize>),
        items: Vec<Item>,
        folder: &Path,
    ) -> Result<usize> {
        let id = self.modules.len();
        self.modules.push(Module { file, lines, parent, children: BTreeMap::new(), items: Vec::new() });
        for item in items {
            let Item::Mod(module) = item else {
                self.modules[id].items.push(item);
                continue;
            };
            let name = module.ident.to_string();
            let (lines, within) = (module.span().start().line..=module.span().end().line, folder.join(&name));
            let beside = within.with_extension("rs");
            let child = match module.content {
                Some((_, items)) => self.module(root, (file, lines, Some(id)), items, &within)?,
                None if beside.exists() => self.read(root, &beside, Some(id), &within)?,
                None => self.read(root, &within.join("mod.rs"), Some(id), &within)?,
            };
            self.modules[id].children.insert(name, child);
        }
        Ok(id)
    }
}

/// What stands behind `#[cfg(test)]`.
#[derive(Default)]
struct Tests {
    lines: usize,
    modules: Vec<String>,
}

impl Tests {
    fn take_out(&mut self, tokens: TokenStream) -> TokenStream {
        let mut kept: Vec<TokenTree> = Vec::new();
        let mut trees = tokens.into_iter().peekable();
        while let Some(tree) = trees.next() {
            if !is_test_attribute(&tree) || kept.pop_if(|it| is_punct(it, '#')).is_none() {
                kept.push(match tree {
                    TokenTree::Group(group) => {
                        let mut cleaned = Group::new(group.delimiter(), self.take_out(group.stream()));
                        cleaned.set_span(group.span());
                        cleaned.into()
                    }
                    tree => tree,
                });
                continue;
            }
            // Other attributes and the doc comment before this one belong to the same item.
            let mut first = tree.span().start().line;
            while let [.., mark, TokenTree::Group(attribute)] = &kept[..]
                && is_punct(mark, '#')
                && attribute.delimiter() == Delimiter::Bracket
            {
                first = mark.span().start().line;
                kept.truncate(kept.len() - 2);
            }
            let (mut last, mut is_module) = (first, false);
            for tree in trees.by_ref() {
                last = tree.span().end().line;
                if is_module {
                    self.modules.push(tree.to_string());
                }
                is_module = tree.to_string() == "mod";
                if is_punct(&tree, ';')
                    || matches!(&tree, TokenTree::Group(it) if it.delimiter() == Delimiter::Brace)
                {
                    break;
                }
            }
            // An import or a constant may have braces before its end.
            trees.next_if(|tree| is_punct(tree, ';'));
            self.lines += last + 1 - first;
        }
        kept.into_iter().collect()
    }
}

fn is_test_attribute(tree: &TokenTree) -> bool {
    let TokenTree::Group(group) = tree else { return false };
    let text = group.stream().to_string().replace(' ', "");
    group.delimiter() == Delimiter::Bracket
        && (text == "test" || text == "cfg(test)" || text.starts_with("cfg(all(test"))
}

fn is_punct(tree: &TokenTree, mark: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == mark)
}

fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

pub fn tokens_of(path: &Path) -> Result<TokenStream> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.parse().map_err(|error| anyhow!("{}: {error}", path.display()))
}

pub fn lines_below(folder: &Path) -> Result<usize> {
    rust_files(folder).map(|path| Ok(fs::read_to_string(path?)?.lines().count())).sum()
}

/// The Rust files of a folder, none if there is no such folder, without those of packages that lie within it.
pub fn rust_files(folder: &Path) -> impl Iterator<Item = Result<PathBuf>> {
    let is_own = |entry: &walkdir::DirEntry| entry.depth() == 0 || !entry.path().join("Cargo.toml").exists();
    let files =
        folder.exists().then(|| WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(is_own));
    let paths = files.into_iter().flatten().map(|entry| Ok(entry?.into_path()));
    paths.filter(|path| path.as_ref().map_or(true, |path| path.extension().is_some_and(|it| it == "rs")))
}
