//! `scorehouse generate`: synthetic events.

use chrono::{Days, NaiveDate};
use clap::Args;
use serde_json::json;

use super::{common, output};
use crate::clock;
use crate::error::{Error, Result};
use crate::pipeline::generate::{self, Config};
use crate::pipeline::open;
use crate::pipeline::progress::{Progress, bytes, thousands};
use crate::pipeline::runs::peak_memory;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Users that register within the generated days.
    #[arg(long, default_value_t = 20_000)]
    users: u64,
    /// Days of events.
    #[arg(long, default_value_t = 400)]
    days: u32,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The last generated day.
    #[arg(long, value_parser = common::date, default_value = "2025-06-30", value_name = "YYYY-MM-DD")]
    date: NaiveDate,
    /// Share of the day files that are delivered days late.
    #[arg(long, default_value_t = 0.005)]
    late_share: f64,
    /// Share of the day files that are delivered twice.
    #[arg(long, default_value_t = 0.005)]
    redelivered_share: f64,
    /// Share of the day files of which some rows are corrected later.
    #[arg(long, default_value_t = 0.005)]
    corrected_share: f64,
    /// Results as JSON on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: common::Place,
}

pub fn run(arguments: Arguments) -> Result<()> {
    // Events are not in the lake: who says where they go needs no profile.
    let lake = arguments.place.lake.clone().or_else(|| Some(String::new()));
    let profile = common::Place { lake, ..arguments.place.clone() }.resolve()?;
    let raw = profile.raw.strip_prefix("file://").unwrap_or(&profile.raw).to_string();
    if raw.contains("://") {
        let help = "generate locally, then copy";
        return Err(Error::definition(format!(
            "events are generated into a local directory, not {raw}\n  help: {help}"
        )));
    }
    let start = arguments.date.checked_sub_days(Days::new(u64::from(arguments.days.max(1)) - 1));
    let config = Config {
        raw: raw.clone().into(),
        users: arguments.users,
        days: arguments.days,
        start: start
            .ok_or_else(|| Error::definition("the first day lies before all calendars\n  help: fewer --days"))?,
        seed: arguments.seed,
        threads: open::threads(&profile),
        late_share: arguments.late_share,
        redelivered_share: arguments.redelivered_share,
        corrected_share: arguments.corrected_share,
    };
    let clock = clock::instant();
    let step = Progress::new().step("generate");
    let summary = generate::run(&config, &|events| step.advance(events))?;
    step.done(&format!("{} events", thousands(summary.total_events())));
    let seconds = clock.elapsed().as_secs_f64();
    if arguments.json {
        let value = json!({ "job": "generate", "seconds": seconds, "peak_memory": peak_memory(), "summary": summary });
        return output::print(&format!("{}\n", serde_json::to_string_pretty(&value)?));
    }
    let total = summary.total_events();
    if summary.unchanged {
        return output::print(&format!("{} events are under {raw} already; nothing to do\n", thousands(total)));
    }
    output::print(&format!(
        "{} events of {} kinds in {} files ({}) under {raw}: {:.1} s, {} events a second, peak memory {}\n",
        thousands(total),
        summary.events.len(),
        thousands(summary.files),
        bytes(summary.bytes),
        seconds,
        thousands((total as f64 / seconds) as u64),
        bytes(peak_memory()),
    ))
}
