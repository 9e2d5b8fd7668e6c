//! Source as plain tokens: unlike the parser they also show the inside of macros.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A token that is no group, with the one before and the one after it within the same brackets.
pub struct Token {
    pub text: String,
    pub line: usize,
    pub is_ident: bool,
    /// `::` counts as one, a group as its opening bracket.
    pub before: String,
    pub after: String,
}

pub fn flat(tokens: &TokenStream) -> Vec<Token> {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let texts: Vec<String> = trees.iter().map(text).collect();
    let at = |nth: usize| texts.get(nth).map_or("", String::as_str);
    let pair =
        |near: &str, far: &str| if near == ":" && far == ":" { "::".to_owned() } else { near.to_owned() };
    let mut out = Vec::new();
    for (nth, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Group(group) => out.extend(flat(&group.stream())),
            tree => out.push(Token {
                text: texts[nth].clone(),
                line: tree.span().start().line,
                is_ident: matches!(tree, TokenTree::Ident(_)),
                before: pair(at(nth.wrapping_sub(1)), at(nth.wrapping_sub(2))),
                after: pair(at(nth + 1), at(nth + 2)),
            }),
        }
    }
    out
}

fn text(tree: &TokenTree) -> String {
    match tree {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => "(".to_owned(),
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => "[".to_owned(),
        TokenTree::Group(_) => "{".to_owned(),
        TokenTree::Ident(ident) => ident.to_string().trim_start_matches("r#").to_owned(),
        TokenTree::Punct(punct) => punct.as_char().to_string(),
        // Only that something stands here matters.
        TokenTree::Literal(_) => "\"".to_owned(),
    }
}

/// What looks like the path of an item: `a::b`, a type's name, or a call. Imports are left out.
pub fn paths(tokens: &TokenStream) -> Vec<(Vec<String>, usize)> {
    let mut paths: Vec<(Vec<String>, usize)> = Vec::new();
    let (mut is_open, mut is_import) = (false, false);
    for token in flat(tokens).into_iter().filter(|token| token.text != ":") {
        // `impl Trait + use<'a>` imports nothing.
        is_import = (is_import && token.text != ";") || (token.text == "use" && token.after != "<");
        let is_name = token.is_ident && !is_import && (token.before != "$" || token.text == "crate");
        let is_path = token.after == "::" || token.after == "(" || token.text.starts_with(char::is_uppercase);
        if is_name && token.before == "::" {
            if let Some((path, _)) = paths.last_mut().filter(|_| is_open) {
                path.push(token.text.clone());
            }
        } else if is_name && is_path && !["fn", ".", "#"].contains(&&*token.before) {
            paths.push((vec![token.text.clone()], token.line));
        }
        is_open = is_name && token.after == "::" && (is_open || token.before != "::");
    }
    paths
}
