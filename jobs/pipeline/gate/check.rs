//! One check: a value, what it is held to, and what came of it.

use serde::{Deserialize, Serialize};

use crate::define::model::Limit;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Pass,
    Fail,
    /// It could not be made; its note says why.
    Skipped,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Skipped => "skipped",
        }
    }

    pub fn named(name: &str) -> Status {
        match name {
            "pass" => Status::Pass,
            "fail" => Status::Fail,
            _ => Status::Skipped,
        }
    }
}

/// What a threshold bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The value is at least so much.
    Min,
    /// The value is at most so much.
    Max,
    /// The value less the champion's is at least so much.
    MinChange,
    /// The value less the champion's is at most so much.
    MaxChange,
}

const DIRECTIONS: [(&str, Direction); 4] = [
    ("min", Direction::Min),
    ("max", Direction::Max),
    ("min_change", Direction::MinChange),
    ("max_change", Direction::MaxChange),
];

impl Direction {
    pub fn name(self) -> &'static str {
        DIRECTIONS.iter().find(|(_, direction)| *direction == self).map_or("min", |(name, _)| name)
    }

    pub fn named(name: &str) -> Direction {
        DIRECTIONS.iter().find(|(known, _)| *known == name).map_or(Direction::Min, |(_, direction)| *direction)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    pub metric: String,
    pub candidate: Option<f64>,
    /// The champion's value, or the anchor's.
    pub champion: Option<f64>,
    pub threshold: Option<f64>,
    pub direction: Direction,
    /// Interval of the difference.
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub status: Status,
    pub note: String,
}

/// Candidate less champion, with what may be chance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    pub low: f64,
    pub high: f64,
}

/// What is known for a check.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub candidate: Option<f64>,
    pub champion: Option<f64>,
    pub difference: Option<Difference>,
    pub note: String,
}

impl Check {
    /// A check that could not be made.
    pub fn skipped(metric: impl Into<String>, limit: &Limit, why: &str) -> Vec<Check> {
        let found = Found { note: why.to_string(), ..Found::default() };
        Check::made(metric, limit, &found)
    }

    /// A check per bound of the limit. A difference is held to its pessimistic end: a point estimate promotes noise.
    pub fn made(metric: impl Into<String>, limit: &Limit, found: &Found) -> Vec<Check> {
        let metric = metric.into();
        let change = found.candidate.zip(found.champion).map(|(candidate, champion)| candidate - champion);
        let (low, high) = (found.difference.map(|d| d.low).or(change), found.difference.map(|d| d.high).or(change));
        let bounds = [
            (Direction::Min, limit.min, found.candidate),
            (Direction::Max, limit.max, found.candidate),
            (Direction::MinChange, limit.min_change, low),
            (Direction::MaxChange, limit.max_change, high),
        ];
        let declared = bounds.into_iter().filter_map(|(direction, bound, value)| Some((direction, bound?, value)));
        let check = |(direction, bound, value): (Direction, f64, Option<f64>)| Check {
            metric: metric.clone(),
            candidate: found.candidate,
            champion: found.champion,
            threshold: Some(bound),
            direction,
            low: found.difference.map(|difference| difference.low),
            high: found.difference.map(|difference| difference.high),
            status: match (direction, value) {
                (_, None) => Status::Skipped,
                (Direction::Min | Direction::MinChange, Some(value)) if value >= bound => Status::Pass,
                (Direction::Max | Direction::MaxChange, Some(value)) if value <= bound => Status::Pass,
                _ => Status::Fail,
            },
            note: found.note.clone(),
        };
        declared.map(check).collect()
    }

    /// `change ≥ -0.01`.
    pub fn bound(&self) -> String {
        let Some(threshold) = self.threshold else { return String::new() };
        match self.direction {
            Direction::Min => format!("≥ {threshold}"),
            Direction::Max => format!("≤ {threshold}"),
            Direction::MinChange => format!("change ≥ {threshold}"),
            Direction::MaxChange => format!("change ≤ {threshold}"),
        }
    }

    /// What is red about it.
    pub fn sentence(&self) -> String {
        let number = |value: Option<f64>| value.map_or("none".to_string(), |value| format!("{value:.4}"));
        let of = match self.direction {
            Direction::Min | Direction::Max => number(self.candidate),
            _ => match (self.low, self.high) {
                (Some(low), Some(high)) => {
                    format!(
                        "{} against {}, difference in [{low:.4}, {high:.4}]",
                        number(self.candidate),
                        number(self.champion)
                    )
                }
                _ => format!("{} against {}", number(self.candidate), number(self.champion)),
            },
        };
        let note = if self.note.is_empty() { String::new() } else { format!(" ({})", self.note) };
        format!("{} is {of}, expected {}{note}", self.metric, self.bound())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_held_to_its_pessimistic_end() {
        let limit = Limit { min_change: Some(-0.01), max_change: Some(0.05), ..Limit::default() };
        let difference = Some(Difference { low: -0.02, high: 0.04 });
        let found = Found { candidate: Some(0.5), champion: Some(0.5), difference, note: String::new() };
        let checks = Check::made("roc_auc", &limit, &found);
        let statuses: Vec<Status> = checks.iter().map(|check| check.status).collect();
        assert_eq!(statuses, [Status::Fail, Status::Pass], "no change by the point, too much of one by chance");
        assert!(checks[0].sentence().contains("difference in [-0.0200, 0.0400], expected change ≥ -0.01"));
        let point = Check::made("roc_auc", &limit, &Found { difference: None, ..found });
        assert_eq!(point[0].status, Status::Pass);
    }

    #[test]
    fn what_is_not_known_is_skipped_and_a_bound_is_met_at_its_value() {
        let limit = Limit { min: Some(0.5), max: Some(0.5), max_change: Some(0.1), ..Limit::default() };
        let found = Found { candidate: Some(0.5), ..Found::default() };
        let statuses: Vec<Status> = Check::made("psi", &limit, &found).iter().map(|check| check.status).collect();
        assert_eq!(statuses, [Status::Pass, Status::Pass, Status::Skipped]);
        assert!(Check::skipped("psi", &limit, "why").iter().all(|c| c.status == Status::Skipped && c.note == "why"));
    }
}
