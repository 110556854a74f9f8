//! A file of metrics per job for Prometheus, in the format of node-exporter's textfile collector.
//!
//! A nightly job is gone before anybody could ask it, so it leaves what it has to say in `scorehouse_<job>.prom`: what
//! its last run came to, and the counts of its runs, which it takes over from the file that was there. The file is
//! replaced as a whole, so that a collector never reads half of one. That it cannot be written is said, and fails no
//! run: the night's scores matter more than the news of them.
//!
//! The label is `scorehouse_job`, since `job` is Prometheus' own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::job::Written;
use super::runs::peak_memory;
use crate::clock;
use crate::define::profile::Profile;
use crate::define::types::snake;
use crate::error::{Context, Error, Result};

const RUNS: &str = "scorehouse_runs_total";
const LAST_SUCCESS: &str = "scorehouse_last_success_timestamp_seconds";

/// How a run ended.
pub struct Ended<'a> {
    pub job: &'a str,
    /// The exit code of the job.
    pub code: u8,
    pub seconds: f64,
    pub outputs: &'a [Written],
}

impl<'a> Ended<'a> {
    pub fn new<T>(job: &'a str, outcome: &Result<T>, seconds: f64, outputs: &'a [Written]) -> Ended<'a> {
        Ended { job, code: outcome.as_ref().err().map_or(0, |error| error.kind().code()), seconds, outputs }
    }
}

/// Writes the file of a job, where the profile wants one.
pub fn write(profile: &Profile, ended: &Ended) {
    let Some(directory) = &profile.metrics_dir else { return };
    if let Err(error) = replace(Path::new(&directory.0), ended) {
        tracing::warn!(job = ended.job, %error, "the metrics of this run could not be written");
    }
}

/// As [`write()`], of a job that could not begin.
pub fn write_failure(profile: &Profile, job: &str, error: &Error) {
    write(profile, &Ended { job, code: error.kind().code(), seconds: 0.0, outputs: &[] });
}

fn replace(directory: &Path, ended: &Ended) -> Result<()> {
    let name = format!("scorehouse_{}.prom", snake(ended.job));
    let (path, unfinished) = (directory.join(&name), directory.join(format!(".{name}.{}", std::process::id())));
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let now = clock::now().timestamp_millis() as f64 / 1000.0;
    let text = text(ended, now, peak_memory(), &before);
    let written = std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    written.with_context(|| format!("writing {}", path.display()))
}

/// The whole file, after a run that ended `now`; `before` is the file that it replaces.
fn text(ended: &Ended, now: f64, peak_memory: u64, before: &str) -> String {
    let job = [("scorehouse_job", ended.job)];
    let ok = ended.code == 0;
    let mut out = Exposition { text: String::new(), before };
    out.gauge("scorehouse_last_run_timestamp_seconds", "When the last run ended, in seconds since 1970.", &job, now);
    out.gauge("scorehouse_last_run_success", "Whether the last run ended well.", &job, f64::from(u8::from(ok)));
    out.gauge("scorehouse_last_run_exit_code", "The exit code of the last run.", &job, f64::from(ended.code));
    out.gauge("scorehouse_last_run_duration_seconds", "How long the last run took.", &job, ended.seconds);
    let help = "Peak resident memory of the process by the end of the last run.";
    out.gauge("scorehouse_last_run_peak_memory_bytes", help, &job, peak_memory as f64);
    if let Some(last) = if ok { Some(now) } else { out.earlier(LAST_SUCCESS, &job) } {
        out.gauge(LAST_SUCCESS, "When the last run that ended well ended, in seconds since 1970.", &job, last);
    }
    let counted = ["ok", "failed"].map(|outcome| {
        let labels = [job[0], ("outcome", outcome)];
        let one = f64::from(u8::from((outcome == "ok") == ok));
        (labels, out.earlier(RUNS, &labels).unwrap_or_default() + one)
    });
    out.head(RUNS, "Runs that ended, since this file was there first.", "counter");
    counted.iter().for_each(|(labels, count)| out.sample(RUNS, labels, *count));
    let mut tables: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for line in ended.outputs {
        let (rows, bytes) = tables.entry(&line.table).or_default();
        (*rows, *bytes) = (*rows + line.rows, *bytes + line.bytes);
    }
    if !tables.is_empty() {
        let (rows, bytes) = ("scorehouse_last_run_written_rows", "scorehouse_last_run_written_bytes");
        out.head(rows, "Rows that the last run wrote to a table.", "gauge");
        tables.iter().for_each(|(table, of)| out.sample(rows, &[job[0], ("table", table)], of.0 as f64));
        out.head(bytes, "Bytes that the last run wrote to a table.", "gauge");
        tables.iter().for_each(|(table, of)| out.sample(bytes, &[job[0], ("table", table)], of.1 as f64));
    }
    out.text
}

/// Prometheus' text format. All files of a collector must say the same of a metric, so nothing in a head may vary.
struct Exposition<'a> {
    text: String,
    before: &'a str,
}

impl Exposition<'_> {
    fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.head(name, help, "gauge");
        self.sample(name, labels, value);
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = writeln!(self.text, "{} {value}", series(name, labels));
    }

    /// What the file before said of a series.
    fn earlier(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let series = series(name, labels);
        let mut values = self.before.lines().filter_map(|line| line.strip_prefix(&series)?.trim().parse::<f64>().ok());
        values.next().filter(|value| value.is_finite())
    }
}

fn series(name: &str, labels: &[(&str, &str)]) -> String {
    let label = |(name, value): &(&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    };
    let labels: Vec<String> = labels.iter().map(label).collect();
    format!("{name}{{{}}}", labels.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(table: &str, rows: u64, bytes: u64) -> Written {
        Written { rows, bytes, ..Written::unchanged(table, "written", None) }
    }

    fn ended(code: u8, outputs: &[Written]) -> Ended<'_> {
        Ended { job: "nightly", code, seconds: 12.5, outputs }
    }

    #[test]
    fn a_file_is_what_prometheus_reads() {
        let outputs = [line("tables/a\"b\\c\nd", 3, 40), line("tables/x", 1, 10), line("tables/x", 2, 5)];
        let text = text(&ended(0, &outputs), 1_700_000_000.5, 1 << 20, "");
        let expected = r#"# HELP scorehouse_last_run_timestamp_seconds When the last run ended, in seconds since 1970.
# TYPE scorehouse_last_run_timestamp_seconds gauge
scorehouse_last_run_timestamp_seconds{scorehouse_job="nightly"} 1700000000.5
# HELP scorehouse_last_run_success Whether the last run ended well.
# TYPE scorehouse_last_run_success gauge
scorehouse_last_run_success{scorehouse_job="nightly"} 1
# HELP scorehouse_last_run_exit_code The exit code of the last run.
# TYPE scorehouse_last_run_exit_code gauge
scorehouse_last_run_exit_code{scorehouse_job="nightly"} 0
# HELP scorehouse_last_run_duration_seconds How long the last run took.
# TYPE scorehouse_last_run_duration_seconds gauge
scorehouse_last_run_duration_seconds{scorehouse_job="nightly"} 12.5
# HELP scorehouse_last_run_peak_memory_bytes Peak resident memory of the process by the end of the last run.
# TYPE scorehouse_last_run_peak_memory_bytes gauge
scorehouse_last_run_peak_memory_bytes{scorehouse_job="nightly"} 1048576
# HELP scorehouse_last_success_timestamp_seconds When the last run that ended well ended, in seconds since 1970.
# TYPE scorehouse_last_success_timestamp_seconds gauge
scorehouse_last_success_timestamp_seconds{scorehouse_job="nightly"} 1700000000.5
# HELP scorehouse_runs_total Runs that ended, since this file was there first.
# TYPE scorehouse_runs_total counter
scorehouse_runs_total{scorehouse_job="nightly",outcome="ok"} 1
scorehouse_runs_total{scorehouse_job="nightly",outcome="failed"} 0
# HELP scorehouse_last_run_written_rows Rows that the last run wrote to a table.
# TYPE scorehouse_last_run_written_rows gauge
scorehouse_last_run_written_rows{scorehouse_job="nightly",table="tables/a\"b\\c\nd"} 3
scorehouse_last_run_written_rows{scorehouse_job="nightly",table="tables/x"} 3
# HELP scorehouse_last_run_written_bytes Bytes that the last run wrote to a table.
# TYPE scorehouse_last_run_written_bytes gauge
scorehouse_last_run_written_bytes{scorehouse_job="nightly",table="tables/a\"b\\c\nd"} 40
scorehouse_last_run_written_bytes{scorehouse_job="nightly",table="tables/x"} 15
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn a_failed_run_keeps_when_the_last_good_one_was_and_goes_on_counting() {
        let good = text(&ended(0, &[]), 100.0, 1, "");
        let failed = text(&ended(75, &[]), 200.0, 1, &good);
        let says = |text: &str, line: &str| assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        says(&failed, "scorehouse_last_run_success{scorehouse_job=\"nightly\"} 0");
        says(&failed, "scorehouse_last_run_exit_code{scorehouse_job=\"nightly\"} 75");
        says(&failed, "scorehouse_last_success_timestamp_seconds{scorehouse_job=\"nightly\"} 100");
        says(&failed, "scorehouse_runs_total{scorehouse_job=\"nightly\",outcome=\"ok\"} 1");
        says(&failed, "scorehouse_runs_total{scorehouse_job=\"nightly\",outcome=\"failed\"} 1");
        let first = text(&ended(1, &[]), 200.0, 1, "what nobody wrote\n");
        assert!(!first.contains(LAST_SUCCESS), "{first}");
    }
}
