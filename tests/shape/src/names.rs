//! Which file defines what a path names, seen from a module, through imports, re-exports and globs.

use std::collections::HashSet;

use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Item, ItemUse, UseTree, Visibility};

use crate::source::Crate;

/// An import that leads to itself ends here; no honest chain of re-exports is that long.
const MAX_HOPS: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    Module(usize),
    /// The file that defines the item.
    File(usize),
    /// Of another crate, of the language, or local to a function.
    Outside,
}

pub struct Names<'a> {
    pub krate: &'a Crate,
    /// By module.
    pub scopes: Vec<Scope>,
}

#[derive(Default)]
pub struct Scope {
    items: HashSet<String>,
    pub imports: Vec<Import>,
}

pub struct Import {
    name: String,
    pub path: Vec<String>,
    pub is_glob: bool,
    pub is_reexport: bool,
    pub line: usize,
}

impl<'a> Names<'a> {
    pub fn new(krate: &'a Crate) -> Names<'a> {
        let scopes = krate.modules.iter().map(|module| {
            let mut scope = Scope::default();
            for item in &module.items {
                scope.items.extend(defined_name(item));
                scope.visit_item(item);
            }
            scope
        });
        Names { krate, scopes: scopes.collect() }
    }

    pub fn resolve(&self, module: usize, path: &[String]) -> Target {
        self.follow(module, path, 0)
    }

    fn follow(&self, module: usize, path: &[String], hops: usize) -> Target {
        let mut target = Target::Module(module);
        for (nth, name) in path.iter().enumerate() {
            let Target::Module(within) = target else { break };
            let is_last = nth + 1 == path.len();
            target = match (name.as_str(), nth) {
                ("crate", 0) => Target::Module(self.root_of(module)),
                ("self", 0) => target,
                ("super", _) => self.krate.modules[within].parent.map_or(Target::Outside, Target::Module),
                _ => match self.lookup(within, name, !is_last, hops) {
                    Some(found) => found,
                    // A program names its own library by the crate's name.
                    None if nth == 0 && !is_last && *name == self.krate.name => Target::Module(0),
                    None if nth == 0 => Target::Outside,
                    // What a macro defines is not seen; the module stands for it.
                    None => Target::File(self.krate.modules[within].file),
                },
            };
        }
        target
    }

    /// Whether a glob of the module `of` brings the first name of a path into a module.
    pub fn is_from_glob(&self, module: usize, of: usize, path: &[String]) -> bool {
        let is_known_without = self.lookup_named(module, &path[0], path.len() > 1, 0).is_some();
        !is_known_without && self.lookup(of, &path[0], path.len() > 1, 0).is_some()
    }

    fn lookup(&self, module: usize, name: &str, wants_module: bool, hops: usize) -> Option<Target> {
        self.lookup_named(module, name, wants_module, hops).or_else(|| {
            let mut globs =
                self.scopes[module].imports.iter().filter(|import| import.is_glob && hops < MAX_HOPS);
            globs.find_map(|import| match self.follow(module, &import.path, hops + 1) {
                Target::Module(within) => self.lookup(within, name, wants_module, hops + 1),
                Target::File(_) | Target::Outside => None,
            })
        })
    }

    /// A name can stand for a module and an item at once; the rest of the path tells which is meant.
    fn lookup_named(&self, module: usize, name: &str, wants_module: bool, hops: usize) -> Option<Target> {
        let (scope, definition) = (&self.scopes[module], &self.krate.modules[module]);
        let child = definition.children.get(name).map(|&child| Target::Module(child));
        let item = scope.items.contains(name).then_some(Target::File(definition.file));
        let (first, second) = if wants_module { (child, item) } else { (item, child) };
        if first.is_some() || hops == MAX_HOPS {
            return first.or(second);
        }
        let named = scope.imports.iter().filter(|import| !import.is_glob && import.name == name);
        let imported: Vec<Target> = named.map(|import| self.follow(module, &import.path, hops + 1)).collect();
        let wanted = imported.iter().find(|target| matches!(target, Target::Module(_)) == wants_module);
        wanted.or(imported.first()).copied().or(second)
    }

    fn root_of(&self, module: usize) -> usize {
        self.krate.modules[module].parent.map_or(module, |parent| self.root_of(parent))
    }
}

impl Visit<'_> for Scope {
    fn visit_item_use(&mut self, item: &ItemUse) {
        let is_reexport = !matches!(item.vis, Visibility::Inherited);
        // No name is empty, so that `::serde` leads outside.
        let path = item.leading_colon.iter().map(|_| String::new()).collect();
        self.import(&item.tree, path, is_reexport);
    }
}

impl Scope {
    fn import(&mut self, tree: &UseTree, mut path: Vec<String>, is_reexport: bool) {
        let (ident, rename) = match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                return self.import(&part.tree, path, is_reexport);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, path.clone(), is_reexport));
            }
            UseTree::Name(part) => (Some(&part.ident), None),
            UseTree::Rename(part) => (Some(&part.ident), Some(&part.rename)),
            UseTree::Glob(_) => (None, None),
        };
        path.extend(ident.filter(|ident| *ident != "self" || path.is_empty()).map(ToString::to_string));
        let name = rename.map_or_else(|| path.last().cloned().unwrap_or_default(), ToString::to_string);
        let line = tree.span().start().line;
        self.imports.push(Import { name, path, is_glob: ident.is_none(), is_reexport, line });
    }
}

fn defined_name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(it) => &it.ident,
        Item::Enum(it) => &it.ident,
        Item::Fn(it) => &it.sig.ident,
        Item::Macro(it) => it.ident.as_ref()?,
        Item::Static(it) => &it.ident,
        Item::Struct(it) => &it.ident,
        Item::Trait(it) => &it.ident,
        Item::Type(it) => &it.ident,
        Item::Union(it) => &it.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
