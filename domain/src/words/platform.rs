//! Which machines a platform's label matches.

use protocol::WorkerFacts;

use crate::words::ids::PlatformId;

/// Whether a machine is of this platform: `linux-x86_64` or, with the distribution, `linux-x86_64-debian12`; `musl` or
/// `gnu` in the third place requires that libc.
pub fn matches(label: &str, facts: &WorkerFacts) -> bool {
    let mut words = label.splitn(3, '-');
    let (os, arch, more) = (words.next(), words.next(), words.next());
    os == Some(facts.os.as_str())
        && arch == Some(facts.arch.as_str())
        && more.is_none_or(|more| more == facts.distribution || more == facts.libc)
}

/// Which of the farm's platforms, given with their labels, a machine belongs to.
pub fn platforms_of(facts: &WorkerFacts, platforms: &[(PlatformId, String)]) -> Vec<PlatformId> {
    platforms.iter().filter(|(_, label)| matches(label, facts)).map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_names_os_and_arch_and_may_name_more() {
        let facts = WorkerFacts {
            os: "linux".into(),
            arch: "x86_64".into(),
            libc: "gnu".into(),
            distribution: "debian12".into(),
            ..WorkerFacts::default()
        };
        for (label, expected) in [
            ("linux-x86_64", true),
            ("linux-x86_64-debian12", true),
            ("linux-x86_64-gnu", true),
            ("linux-x86_64-musl", false),
            ("linux-aarch64", false),
            ("linux", false),
            ("", false),
        ] {
            assert_eq!(matches(label, &facts), expected, "{label}");
        }
    }
}
