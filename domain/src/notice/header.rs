//! Headers of a mail: what each recipient may see of the others, and a subject that stays text.

use std::collections::BTreeSet;

/// The recipients that the mail shows, in their order; the others get it all the same. Lists are public. Other addresses are
/// shown only if all of them are contacts of one project: those of two projects do not know each other.
pub fn addressees<'a>(
    recipients: &'a [String],
    lists: &BTreeSet<String>,
    contacts: &[BTreeSet<String>],
) -> Vec<&'a String> {
    let own: Vec<&String> = recipients.iter().filter(|recipient| !lists.contains(*recipient)).collect();
    let is_of_one =
        own.len() <= 1 || contacts.iter().any(|of_project| own.iter().all(|it| of_project.contains(*it)));
    recipients.iter().filter(|recipient| is_of_one || lists.contains(*recipient)).collect()
}

/// How long a line of a header should be at most (RFC 5322); servers refuse much longer ones.
const LINE_CHARS: usize = 78;

/// A list of addresses as the value of the header with this name, folded between the addresses.
pub fn folded(name: &str, addresses: &[String]) -> String {
    let mut value = String::new();
    let mut width = name.len() + 2;
    for (at, address) in addresses.iter().enumerate() {
        let comma = usize::from(at + 1 < addresses.len());
        let length = address.len() + comma;
        if at > 0 && width + 1 + length > LINE_CHARS {
            value.push_str("\r\n ");
            width = 1;
        } else if at > 0 {
            value.push(' ');
            width += 1;
        }
        value.push_str(address);
        value.push_str(if comma > 0 { "," } else { "" });
        width += length;
    }
    value
}

/// The most bytes of a text in one encoded word, which has at most 75 characters (RFC 2047).
const MAX_WORD_BYTES: usize = 20;

/// A subject in encoded words, folded, if it would be decoded otherwise: a title may hold words that look like encoded ones.
pub fn encoded_subject(subject: &str) -> Option<String> {
    if !subject.contains("=?") {
        return None;
    }
    let mut words = vec![String::new()];
    let mut bytes = 0;
    for letter in subject.chars() {
        // No word ends within a character.
        if bytes + letter.len_utf8() > MAX_WORD_BYTES {
            words.push(String::new());
            bytes = 0;
        }
        bytes += letter.len_utf8();
        let word = words.last_mut()?;
        for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
            match byte {
                byte if byte.is_ascii_alphanumeric() => word.push(char::from(byte)),
                byte => word.push_str(&format!("={byte:02X}")),
            }
        }
    }
    let words: Vec<String> = words.into_iter().map(|word| format!("=?utf-8?Q?{word}?=")).collect();
    Some(words.join("\r\n "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(header: &str) -> String {
        let mut bytes = Vec::new();
        for word in header.split("\r\n ") {
            assert!(word.len() <= 75 && word.is_ascii(), "{word}");
            let mut text = word.strip_prefix("=?utf-8?Q?").unwrap().strip_suffix("?=").unwrap();
            while let Some(letter) = text.chars().next() {
                let taken = if letter == '=' { 3 } else { 1 };
                match letter {
                    '=' => bytes.push(u8::from_str_radix(&text[1..3], 16).unwrap()),
                    letter => bytes.push(letter as u8),
                }
                text = &text[taken..];
            }
            assert!(std::str::from_utf8(&bytes).is_ok(), "a word ends within a character: {word}");
        }
        String::from_utf8(bytes).unwrap()
    }

    proptest! {
        #[test]
        fn an_encoded_word_in_a_subject_stays_text(before in ".{0,60}", word in "=\\?[a-z-]{1,9}\\?[QB]\\?[!-~]{0,20}\\?=", after in ".{0,60}") {
            let subject = format!("{before}{word}{after}");
            prop_assert_eq!(decoded(&encoded_subject(&subject).unwrap()), subject);
        }

        #[test]
        fn a_list_of_addresses_is_folded_between_them(addresses in prop::collection::vec("[a-z]{1,30}@[a-z]{1,30}[.]org", 1..60)) {
            let header = format!("To: {}\r\n", folded("To", &addresses));
            for line in header.trim_end().split("\r\n") {
                prop_assert!(line.len() <= LINE_CHARS, "{}", line);
            }
            prop_assert_eq!(header.trim_end().replace("\r\n ", " "), format!("To: {}", addresses.join(", ")));
        }

        #[test]
        fn contacts_of_two_projects_do_not_see_each_other(
            contacts in prop::collection::vec(prop::collection::btree_set("[a-f]", 0..4), 1..4),
            lists in prop::collection::btree_set("[x-z]", 0..3),
            written_to in prop::collection::vec(any::<bool>(), 3),
        ) {
            let some = contacts.iter().zip(&written_to).filter(|(_, is)| **is).flat_map(|(of, _)| of.iter());
            let recipients: BTreeSet<String> = lists.iter().chain(some).cloned().collect();
            let recipients: Vec<String> = recipients.into_iter().collect();
            let shown = addressees(&recipients, &lists, &contacts);
            for one in &shown {
                prop_assert!(recipients.contains(one));
                for other in shown.iter().filter(|other| *other != one) {
                    let public = lists.contains(*one) || lists.contains(*other);
                    let together = contacts.iter().any(|of| of.contains(*one) && of.contains(*other));
                    prop_assert!(public || together, "{} sees {}", one, other);
                }
            }
            prop_assert!(recipients.iter().filter(|it| lists.contains(*it)).all(|it| shown.contains(&it)));
        }
    }

    #[test]
    fn the_contacts_of_one_project_see_each_other_and_the_list() {
        let set = |words: &[&str]| words.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let all = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (lists, contacts) = (set(&["list"]), [set(&["a", "b"]), set(&["c"])]);
        for (recipients, expected) in [
            (&["a", "b", "list"][..], &["a", "b", "list"][..]),
            (&["a", "c", "list"], &["list"]),
            (&["a", "c"], &[]),
            (&["c", "list"], &["c", "list"]),
            // A contact that the configuration does not have any longer.
            (&["gone"], &["gone"]),
            (&["a", "gone"], &[]),
        ] {
            assert_eq!(
                addressees(&all(recipients), &lists, &contacts),
                all(expected).iter().collect::<Vec<_>>()
            );
        }
    }
}
