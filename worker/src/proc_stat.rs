//! The processes of this machine, as `/proc/ID/stat` shows them.

use std::fs;

/// What one line of `/proc/ID/stat` says.
pub struct ProcStat {
    pub id: i32,
    /// `R`, `S`, `T` and so on.
    pub state: char,
    pub parent: i32,
    pub session: i32,
    pub threads: u64,
}

/// All that can be read. A process may end meanwhile.
pub fn all() -> impl Iterator<Item = ProcStat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| of(entry.file_name().to_str()?.parse().ok()?))
}

/// One process; none if it has ended.
pub fn of(id: i32) -> Option<ProcStat> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second word is the program's name in brackets, and may contain anything.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let state = words.next()?.chars().next()?;
    let parent = words.next()?.parse().ok()?;
    let session = words.nth(1)?.parse().ok()?;
    // The 20th field, after the 6th.
    let threads = words.nth(13)?.parse().ok()?;
    Some(ProcStat { id, state, parent, session, threads })
}
