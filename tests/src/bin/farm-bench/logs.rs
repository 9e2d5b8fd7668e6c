//! Reading windows of a log of one gigabyte, live and sealed, at random lines.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use store::files::log::{LogExtent, LogReader, LogWriter, path, seal};

use crate::table::{Table, milliseconds, quantile};

const LINES: u64 = 10_000_000;
/// The size of a window on a log's page.
const WINDOW: u64 = 500;
const WINDOWS: usize = 200;

pub fn measure(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = path(folder.path(), 1, 0);
    let plain = folder.path().join("plain");
    let extent = write(&log, &plain)?;
    let bare = bare(&plain)?;
    let mut shown = |what: &str, extent: LogExtent| -> Result<()> {
        let times_taken = windows(&log, extent)?;
        let [median, worst] = [0.5, 1.0].map(|part| quantile(&times_taken, part));
        let ratio = format!("sed on plain text takes {}", milliseconds(bare));
        table.row(
            format!("a window of a {what} log of {} MB", extent.raw_bytes / 1_000_000),
            milliseconds(median),
            ratio,
        );
        table.row(format!("  the slowest of {WINDOWS}"), milliseconds(worst), "");
        Ok(())
    };
    shown("live", extent)?;
    let sealed = seal(&log, extent)?;
    shown("sealed", sealed)
}

/// Writes the same lines as a log, in the frames that a worker sends, and as plain text.
fn write(log: &Path, plain: &Path) -> Result<LogExtent> {
    const FRAME: usize = 64 << 10;
    let mut writer = LogWriter::open(log, LogExtent::default())?;
    let mut text = Vec::with_capacity(FRAME + 200);
    let mut whole = std::io::BufWriter::new(std::fs::File::create(plain)?);
    for line in 0..LINES {
        let seed = line.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        text.extend_from_slice(
            format!(
                "test {line:>9} of module {:016x} passed in {:>6} us, no leaks found, seed {seed:020}\n",
                seed >> 3,
                seed >> 44
            )
            .as_bytes(),
        );
        if text.len() >= FRAME {
            writer.append(&text)?;
            std::io::Write::write_all(&mut whole, &text)?;
            text.clear();
        }
    }
    std::io::Write::write_all(&mut whole, &text)?;
    let extent = writer.append(&text)?;
    writer.sync()?;
    Ok(extent)
}

/// Opens the log again for each window, as a page does.
fn windows(log: &Path, extent: LogExtent) -> Result<Vec<Duration>> {
    let mut taken = Vec::with_capacity(WINDOWS);
    for number in 0..WINDOWS as u64 {
        let first = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (LINES - WINDOW);
        let begun = Instant::now();
        let window = LogReader::open(log, extent)?.lines(first, WINDOW, 4 << 20)?;
        taken.push(begun.elapsed());
        ensure!(window.first_line == first, "the window begins at line {}", window.first_line);
    }
    Ok(taken)
}

/// The same window from the middle of the plain text.
fn bare(plain: &Path) -> Result<Duration> {
    let (first, last) = (LINES / 2, LINES / 2 + WINDOW);
    let script = format!("{first},{last}p;{last}q");
    let begun = Instant::now();
    let status = Command::new("sed").arg("-n").arg(script).arg(plain).stdout(Stdio::null()).status();
    ensure!(status.context("running sed")?.success(), "sed failed");
    Ok(begun.elapsed())
}
