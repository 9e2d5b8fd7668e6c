//! Characters that act instead of being read are shown in pages, mails and JSON: control characters, and those that change
//! the direction of text or are invisible in it.

use std::borrow::Cow;

/// The visible form of a character that would act instead of being read; none for all others, such as newlines and tabs.
pub fn sign(letter: char) -> Option<String> {
    match letter {
        '\n' | '\t' => None,
        '\0'..='\u{1f}' | '\u{7f}' => Some(caret(letter)),
        letter if is_invisible(letter) => Some(format!("U+{:04X}", u32::from(letter))),
        _ => None,
    }
}

/// A text of one line in which every such character is shown.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(|letter| sign(letter).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match sign(letter) {
            Some(sign) => shown.push_str(&sign),
            None => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

/// C1 controls, and characters that reverse the direction of text, are invisible in it, or stand for a tag.
fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// `^@` for NUL, `^G` for the bell, as terminals and editors write them; every font has these letters.
fn caret(control: char) -> String {
    let code = u8::try_from(control).expect("an ASCII control character is one byte");
    format!("^{}", char::from(code ^ 0x40))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_shown_acts_on_nothing_and_loses_no_other_character(text in "(.|\u{202e}|\u{2066}|\u{61c}|\u{7}|\u{9b}){0,40}") {
            let shown = shown(&text);
            prop_assert!(!shown.contains(|letter| sign(letter).is_some()), "{:?}", shown);
            prop_assert_eq!(super::shown(&shown), shown.clone());
            let rest: String = text.chars().filter(|letter| sign(*letter).is_none()).collect();
            let mut left = shown.chars();
            prop_assert!(rest.chars().all(|letter| left.any(|other| other == letter)));
        }
    }
}
