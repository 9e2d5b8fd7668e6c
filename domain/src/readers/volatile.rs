//! Finds what differs from run to run in a text: identifiers, addresses, dates and times, temporary names. Each scanner
//! reads at the start of a text that follows no letter or digit, and returns how many bytes it takes.

/// The length of what is volatile at the start of a text; none if nothing there is. `before` is the character before it.
pub fn volatile(rest: &str, before: char) -> Option<usize> {
    uuid(rest)
        .or_else(|| stamp(rest))
        .or_else(|| clock(rest).filter(|_| before != ':'))
        .or_else(|| spoken_date(rest))
        .or_else(|| address(rest, before))
        .or_else(|| hash(rest))
}

/// A line without the stamps at its start, such as `[2026-01-02T03:04:05Z] ` or `Jan  2 03:04:05 `; none if it has none.
pub fn without_stamp(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    let before = rest;
    // A date, a time and the seconds since the start are three stamps at most.
    for _ in 0..3 {
        let inner = rest.strip_prefix(['[', '(']).unwrap_or(rest);
        let inner = inner.trim_start();
        let Some(length) = stamp(inner)
            .or_else(|| clock(inner))
            .or_else(|| spoken_date(inner))
            .or_else(|| uptime(inner).filter(|_| rest.starts_with('[')))
        else {
            break;
        };
        let behind = &inner[length..];
        // `12:00:00abc` is no stamp.
        if behind.starts_with(|c: char| c.is_alphanumeric()) {
            break;
        }
        rest = behind.trim_start_matches(|c: char| c.is_whitespace() || "]):|-,".contains(c));
    }
    (rest.len() < before.len()).then_some(rest)
}

fn word(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

fn is_hex(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn ends(text: &str, length: usize) -> bool {
    !text[length..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// `550e8400-e29b-41d4-a716-446655440000`
fn uuid(text: &str) -> Option<usize> {
    const PARTS: [usize; 5] = [8, 4, 4, 4, 12];
    let mut rest = text;
    for (at, length) in PARTS.into_iter().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix('-')?;
        }
        let (part, behind) = rest.split_at_checked(length)?;
        if !is_hex(part) {
            return None;
        }
        rest = behind;
    }
    let length = text.len() - rest.len();
    ends(text, length).then_some(length)
}

/// So many digits, and the text after them.
fn digits(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<&str> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    count.contains(&length).then(|| &text[length..])
}

/// `2026-01-02`, `2026/01/02`, either with a time of day: `2026-01-02T03:04:05.678+01:00`
fn stamp(text: &str) -> Option<usize> {
    let rest = digits(text, 4..=4)?;
    let mark = rest.chars().next().filter(|mark| "-/".contains(*mark))?;
    let rest = digits(rest.strip_prefix(mark)?, 2..=2)?;
    let rest = digits(rest.strip_prefix(mark)?, 2..=2)?;
    let date = text.len() - rest.len();
    let time = rest.strip_prefix(['T', 't', ' ', '_']).and_then(|time| Some(&time[time_of_day(time)?..]));
    match time {
        Some(rest) => Some(text.len() - rest.len()),
        None => ends(text, date).then_some(date),
    }
}

/// `03:04:05`; two numbers alone may be a line and a column.
fn clock(text: &str) -> Option<usize> {
    let rest = digits(text, 1..=2)?.strip_prefix(':')?;
    let rest = digits(rest, 2..=2)?.strip_prefix(':')?;
    digits(rest, 2..=2)?;
    time_of_day(text)
}

/// `03:04`, with seconds, their fraction and the time zone.
fn time_of_day(text: &str) -> Option<usize> {
    let mut rest = digits(digits(text, 1..=2)?.strip_prefix(':')?, 2..=2)?;
    if let Some(behind) = rest.strip_prefix(':').and_then(|seconds| digits(seconds, 2..=2)) {
        rest = behind;
        if let Some(behind) = rest.strip_prefix(['.', ',']).and_then(|fraction| digits(fraction, 1..=9))
            && (ends(behind, 0) || behind.starts_with(['Z', 'z']))
        {
            rest = behind;
        }
    }
    if let Some(behind) = rest.strip_prefix(['Z', 'z']).filter(|behind| ends(behind, 0)) {
        rest = behind;
    } else if let Some(zone) = rest.strip_prefix(['+', '-'])
        && let Some(behind) = digits(zone, 2..=2)
    {
        rest = digits(behind.strip_prefix(':').unwrap_or(behind), 2..=2).unwrap_or(behind);
    } else if let Some(behind) = [" AM", " PM", " am", " pm"].iter().find_map(|noon| rest.strip_prefix(noon))
    {
        rest = if ends(behind, 0) { behind } else { rest };
    }
    let length = text.len() - rest.len();
    ends(text, length).then_some(length)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A whole name or its first three letters, at the start of a text: what follows it.
fn name<'t>(text: &'t str, names: &[&str]) -> Option<&'t str> {
    let found = word(text);
    names.iter().any(|name| found == *name || found == &name[..3]).then(|| &text[found.len()..])
}

/// `Fri Jan  2 03:04:05 2026`, `Fri, 02 Jan 2026 03:04:05 GMT`, `Jan 2`, `2 January 2026`. A month needs its day, since
/// `May` is a word, too.
fn spoken_date(text: &str) -> Option<usize> {
    let gap = |text| str::trim_start_matches(text, [' ', ',']);
    let from_day = name(text, &DAYS).map_or(text, gap);
    let day = |text| digits(text, 1..=2).filter(|rest| ends(rest, 0));
    let month_first = name(from_day, &MONTHS).map(gap).and_then(day);
    let day_first = || name(gap(day(from_day)?), &MONTHS);
    let mut rest = month_first.or_else(day_first)?;
    for _ in 0..2 {
        let behind = gap(rest);
        let year = digits(behind, 4..=4).filter(|rest| ends(rest, 0) && !rest.starts_with(['-', '/', '.']));
        if let Some(length) = clock(behind) {
            rest = &behind[length..];
        } else if let Some(behind) = year {
            rest = behind;
        }
    }
    if let Some(behind) = [" UTC", " GMT"].iter().find_map(|zone| rest.strip_prefix(zone)) {
        rest = behind;
    }
    Some(text.len() - rest.len())
}

/// `   12.345678`: the kernel's seconds since its start.
fn uptime(text: &str) -> Option<usize> {
    let rest = digits(text, 1..=10)?.strip_prefix('.')?;
    let rest = digits(rest, 3..=9)?;
    rest.starts_with(']').then(|| text.len() - rest.len())
}

/// `0x7f39ab02`, or what stands behind the `@` of an object.
fn address(text: &str, before: char) -> Option<usize> {
    let found = word(text);
    let is_pointer = found.strip_prefix("0x").is_some_and(|hex| !hex.is_empty() && is_hex(hex));
    let is_object = before == '@' && (5..=16).contains(&found.len()) && is_hex(found);
    (is_pointer || is_object).then_some(found.len())
}

/// A commit or a digest, also shortened to seven digits. Digits alone are a number, and letters alone a word.
fn hash(text: &str) -> Option<usize> {
    let found = word(text);
    let has = |of: fn(&u8) -> bool| found.as_bytes().iter().any(of);
    let is_one_case = !(has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase)) || found.len() >= 8;
    let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    (found.len() >= 7 && is_hex(found) && is_mixed && is_one_case).then_some(found.len())
}

/// The fixed start of a temporary name, as Python, mktemp and Rust make them: `tmp` of `tmpab12cd3_`. The rest is random.
pub fn temporary(text: &str) -> Option<(usize, usize)> {
    let found = word(text);
    let is_random = |name: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if found == "tmp"
        && let Some(random) = text[3..].strip_prefix('.').map(word)
        && is_random(random, 6..=12)
    {
        return Some((4, 4 + random.len()));
    }
    let random = found.strip_prefix("tmp")?;
    (is_random(random, 8..=8) || is_random(random, 6..=6) && is_mixed(random)).then_some((3, found.len()))
}

/// Whether the letters and digits of a name are such as only a machine chooses.
pub fn is_mixed(name: &str) -> bool {
    let has = |of: fn(char) -> bool| name.contains(of);
    let kinds =
        [has(|c| c.is_ascii_lowercase()), has(|c| c.is_ascii_uppercase()), has(|c| c.is_ascii_digit())];
    name.len() >= 6 && kinds.into_iter().filter(|kind| *kind).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_volatile_is_found_whole() {
        for (text, taken) in [
            ("550e8400-e29b-41d4-a716-446655440000 was", "550e8400-e29b-41d4-a716-446655440000"),
            ("2026-01-02T03:04:05Z] x", "2026-01-02T03:04:05Z"),
            ("2026-01-02 03:04:05,123 ERROR", "2026-01-02 03:04:05,123"),
            ("2026-01-02T03:04:05.123456+01:00 x", "2026-01-02T03:04:05.123456+01:00"),
            ("2026/01/02 03:04:05 x", "2026/01/02 03:04:05"),
            ("2026-01-02, x", "2026-01-02"),
            ("03:04:05 x", "03:04:05"),
            ("3:04:05 PM x", "3:04:05 PM"),
            ("Fri Jan  2 03:04:05 2026 x", "Fri Jan  2 03:04:05 2026"),
            ("Fri, 02 Jan 2026 03:04:05 GMT x", "Fri, 02 Jan 2026 03:04:05 GMT"),
            ("2 January 2026: x", "2 January 2026"),
            ("Jan 2 x", "Jan 2"),
            ("May fail", ""),
            ("Sunday is off", ""),
            ("1b2c3d4 is bad", "1b2c3d4"),
            ("0x7f39Ab02>", "0x7f39Ab02"),
            ("facade and decade", ""),
            ("1234567 of", ""),
            ("12:15: error", ""),
        ] {
            let length = volatile(text, ' ').unwrap_or(0);
            assert_eq!(&text[..length], taken, "{text}");
        }
        assert_eq!(volatile("1b2c3d4 is closed", '@'), Some(7));
        assert_eq!(volatile("abcdef is closed", '@'), Some(6));
    }

    #[test]
    fn a_stamped_line_is_a_line() {
        for (line, rest) in [
            ("2026-01-02 03:04:05,123 ERROR no", Some("ERROR no")),
            ("[2026-01-02T03:04:05Z] error: no", Some("error: no")),
            ("Jan  2 03:04:05 host error: no", Some("host error: no")),
            ("[03:04:05] FAIL no", Some("FAIL no")),
            ("[   12.345678] error: no", Some("error: no")),
            ("03:04:05 - 2026-01-02 | x", Some("x")),
            ("ERROR no", None),
            ("12 errors", None),
        ] {
            assert_eq!(without_stamp(line), rest, "{line}");
        }
    }
}
