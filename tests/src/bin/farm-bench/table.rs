//! The table that is printed at the end.

use std::fmt;
use std::time::Duration;

#[derive(Default)]
pub struct Table {
    rows: Vec<[String; 3]>,
}

impl Table {
    pub fn row(&mut self, what: impl Into<String>, figure: impl Into<String>, ratio: impl Into<String>) {
        self.rows.push([what.into(), figure.into(), ratio.into()]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (what, figure) = (width(0), width(1));
        for [name, value, ratio] in &self.rows {
            let line = format!("{name:what$}  {value:>figure$}  {ratio}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

pub fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// `1 worker`, `4 workers`.
pub fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

pub fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The ratio of two numbers.
pub fn times(a: f64, b: f64) -> String {
    format!("{:.2} x", a / b)
}

/// The quantile of these times; `times` is not empty.
pub fn quantile(times: &[Duration], part: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[((times.len() - 1) as f64 * part).round() as usize]
}
