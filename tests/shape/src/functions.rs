//! A shell's function fits on a screen, and no function takes more than a reader can keep apart.

use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use crate::source::Crate;

const SHELLS: [&str; 3] = ["master", "worker", "web"];
const MAX_LINES: usize = 60;
const MAX_PARAMETERS: usize = 6;

#[derive(Default)]
pub struct Functions<'a> {
    file: &'a str,
    is_shell: bool,
    pub long: Vec<String>,
    pub wide: Vec<String>,
}

pub fn of(krate: &Crate) -> Functions<'_> {
    let mut found = Functions { is_shell: SHELLS.contains(&&*krate.name), ..Functions::default() };
    for module in &krate.modules {
        found.file = &krate.files[module.file].path;
        module.items.iter().for_each(|item| found.visit_item(item));
    }
    found
}

impl Functions<'_> {
    fn measure(&mut self, signature: &Signature, body: Option<&Block>) {
        let first = signature.fn_token.span.start().line;
        let place = format!("{}:{first}: `{}`", self.file, signature.ident);
        let parameters = signature.inputs.len();
        if parameters > MAX_PARAMETERS {
            let mend = "gather what belongs together in a struct";
            self.wide.push(format!("{place} has {parameters} parameters, at most {MAX_PARAMETERS}; {mend}"));
        }
        let lines = body.map_or(0, |body| body.brace_token.span.close().end().line + 1 - first);
        if self.is_shell && lines > MAX_LINES {
            let mend = "take a step of it out, or move its rule to domain";
            self.long.push(format!("{place} has {lines} lines, at most {MAX_LINES}; {mend}"));
        }
    }
}

impl Visit<'_> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &ItemFn) {
        self.measure(&function.sig, Some(&function.block));
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &ImplItemFn) {
        self.measure(&function.sig, Some(&function.block));
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &TraitItemFn) {
        self.measure(&function.sig, function.default.as_ref());
        visit::visit_trait_item_fn(self, function);
    }
}
