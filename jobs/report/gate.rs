//! The gate: each check with what it compared, what it asked for and how it ended; and who would get another action.

use maud::{Markup, html};

use super::format::{self, count, metric, optional, share_of};
use super::html::{head, metric_name, note, number, pill, scroll};
use super::page::{ActionChanges, Check, Gate, Status};

pub fn checks(gate: &Gate) -> Markup {
    let of = |status: Status| gate.checks.iter().filter(|check| check.status == status).count();
    let (passed, failed, skipped) = (of(Status::Pass), of(Status::Fail), of(Status::Skipped));
    let intervals = gate.checks.iter().any(|check| check.low.is_some());
    let interval = intervals.then_some("Interval of the change");
    let numbers: Vec<&str> =
        ["Candidate", "Champion", "Change"].into_iter().chain(interval).chain(["Threshold"]).collect();
    scroll(
        "Checks of the gate",
        &html! {
            table {
                caption { (passed) " passed, " (failed) " failed, " (skipped) " skipped" }
                (head(&["Check", "Status"], &numbers))
                tbody { @for check in &gate.checks { (row(check, intervals)) } }
            }
        },
    )
}

fn row(check: &Check, intervals: bool) -> Markup {
    let change = check.candidate.zip(check.champion).map(|(candidate, champion)| candidate - champion);
    let threshold = optional(check.threshold, metric);
    let bound = if check.direction.is_empty() { threshold } else { format!("{} {threshold}", check.direction) };
    html! {
        tr class=[(check.status == Status::Fail).then_some("failed")] {
            th.text scope="row" {
                (metric_name(&check.metric))
                (note(&check.note))
            }
            td { (pill(check.status)) }
            (number(&optional(check.candidate, metric)))
            (number(&optional(check.champion, metric)))
            (number(&optional(change, format::signed)))
            @if intervals { td.number { (format::interval(check.low, check.high)) } }
            td.number { (bound) }
        }
    }
}

/// Live actions down, the candidate's across; what stays is on the diagonal.
pub fn action_matrix(changes: &ActionChanges) -> Markup {
    let all: u64 = changes.counts.iter().flatten().sum();
    let kept: u64 = changes.counts.iter().enumerate().filter_map(|(index, row)| row.get(index)).sum();
    scroll(
        "Action changes",
        &html! {
            table.matrix {
                caption {
                    (count(all - kept)) " of " (count(all)) " customers (" (share_of(all - kept, all))
                    ") would get another action"
                }
                thead { tr {
                    th scope="col" { "Live action ↓ · candidate →" }
                    @for action in &changes.actions { th.number scope="col" { (action) } }
                    th.number scope="col" { "All" }
                } }
                tbody {
                    @for (index, (action, counts)) in changes.actions.iter().zip(&changes.counts).enumerate() {
                        @let whole: u64 = counts.iter().sum();
                        tr {
                            th scope="row" { (action) }
                            @for (other, count_of) in counts.iter().enumerate() {
                                td class=(shade(index == other, *count_of, all)) title=(share_of(*count_of, all)) {
                                    (count(*count_of))
                                }
                            }
                            td.number { (count(whole)) }
                        }
                    }
                    tr.total {
                        th scope="row" { "All" }
                        @for index in 0..changes.actions.len() {
                            @let whole: u64 = changes.counts.iter().filter_map(|row| row.get(index)).sum();
                            td.number { (count(whole)) }
                        }
                        td.number { (count(all)) }
                    }
                }
            }
        },
    )
}

/// What moved is shaded by its share, in four steps.
fn shade(same: bool, part: u64, whole: u64) -> String {
    let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let step = match share {
        0.0 => return "number".to_string(),
        s if s < 0.01 => 1,
        s if s < 0.05 => 2,
        s if s < 0.20 => 3,
        _ => 4,
    };
    format!("number {}-{step}", if same { "same" } else { "moved" })
}
