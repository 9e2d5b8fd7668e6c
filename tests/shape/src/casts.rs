//! `as` between numbers cuts and rounds in silence, so it stays rare.

use crate::source::Crate;
use crate::tokens;

const LIMIT: usize = 40;
const NUMBERS: [&str; 14] =
    ["u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32", "f64"];

/// The place of each cast.
pub fn of(krate: &Crate) -> Vec<String> {
    let within = |file: &crate::source::File| {
        let tokens = tokens::flat(&file.tokens).into_iter();
        let casts = tokens.filter(|it| it.before == "as" && NUMBERS.contains(&&*it.text));
        casts.map(|it| format!("{}:{}", file.path, it.line)).collect::<Vec<_>>()
    };
    krate.files.iter().flat_map(within).collect()
}

pub fn violations(casts: &[String]) -> Vec<String> {
    let each =
        casts.iter().map(|place| format!("{place}: casts a number with `as`; use `from` or `try_from`"));
    let sum = format!("workspace: {} casts with `as`, under {LIMIT} may be", casts.len());
    each.chain([sum]).filter(|_| casts.len() >= LIMIT).collect()
}
