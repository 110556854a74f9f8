//! Instants as people write and read them: RFC 3339 in UTC, to the microsecond.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};

/// `2025-07-01T00:00:00Z`, with a fraction where there is one.
pub fn text(micros: i64) -> String {
    let instant = DateTime::from_timestamp_micros(micros);
    instant.map_or_else(|| format!("{micros} µs"), |t| t.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Microseconds of an instant, or of the beginning of a date; without a zone it is UTC.
pub fn parse(text: &str) -> Result<i64, String> {
    let zoned = DateTime::parse_from_rfc3339(text).map(|t| t.timestamp_micros()).ok();
    let plain = |format: &str| NaiveDateTime::parse_from_str(text, format).map(|t| t.and_utc().timestamp_micros()).ok();
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|date| date.and_hms_opt(0, 0, 0));
    zoned
        .or_else(|| plain("%Y-%m-%dT%H:%M:%S%.f"))
        .or_else(|| plain("%Y-%m-%d %H:%M:%S%.f"))
        .or_else(|| date().map(|t| t.and_utc().timestamp_micros()))
        .ok_or_else(|| "expected an instant such as 2024-03-31T14:00:00Z, or a date".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_come_back() {
        for written in ["2024-02-29T14:00:00Z", "2024-02-29T14:00:00.000001Z", "1969-12-31T23:59:59.999999Z"] {
            assert_eq!(text(parse(written).unwrap()), written);
        }
        for same in ["2024-02-29", "2024-02-29 00:00:00", "2024-02-29T00:00:00", "2024-02-29T01:00:00+01:00"] {
            assert_eq!(text(parse(same).unwrap()), "2024-02-29T00:00:00Z", "{same}");
        }
        assert!(parse("yesterday").is_err());
    }
}
