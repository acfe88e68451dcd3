//! The times of WAIT: `duration` and `until`, as Conductor reads them.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// Reads `1 days 2 hours 3 minutes 4 seconds`: any of the four in this order, each in its long
/// or short form (`d`, `h`, `hr`, `m`, `min`, `s`, `sec` …), with or without spaces.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let fault = || {
        format!(
            "duration {text:?} cannot be read: write for example `2 days 3 hours`, `5m` or `30 seconds`"
        )
    };
    let mut rest = text.trim();
    let (mut seconds, mut last) = (0_u64, 0_usize);
    if rest.is_empty() {
        return Err(fault());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| fault())?;
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (rank, of_unit) = unit_of(&unit.to_ascii_lowercase()).ok_or_else(fault)?;
        if rank <= last {
            return Err(fault());
        }
        last = rank;
        seconds = number
            .checked_mul(of_unit)
            .and_then(|more| seconds.checked_add(more))
            .filter(|seconds| *seconds <= SECONDS_MAX)
            .ok_or_else(|| format!("duration {text:?} is too long: at most ten years"))?;
        rest = after.trim_start();
    }
    Ok(Duration::from_secs(seconds))
}

/// Ten years.
const SECONDS_MAX: u64 = 10 * 366 * 86_400;

fn unit_of(name: &str) -> Option<(usize, u64)> {
    Some(match name {
        "d" | "day" | "days" => (1, 86_400),
        "h" | "hr" | "hrs" | "hour" | "hours" => (2, 3_600),
        "m" | "min" | "mins" | "minute" | "minutes" => (3, 60),
        "s" | "sec" | "secs" | "second" | "seconds" => (4, 1),
        _ => return None,
    })
}

/// Reads `yyyy-MM-dd`, `yyyy-MM-dd HH:mm` and `yyyy-MM-dd HH:mm z`. Without a zone it is UTC; a
/// zone is `UTC`, `GMT`, `Z`, or an offset such as `+02:00` or `GMT+2`.
pub(crate) fn parse_until(text: &str) -> Result<DateTime<Utc>, String> {
    let fault = |why: &str| {
        format!("until {text:?} cannot be read: {why}; write `2026-12-31 18:30 UTC` or `… +02:00`")
    };
    let mut parts = text.split_whitespace();
    let date = parts.next().ok_or_else(|| fault("it is empty"))?;
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").map_err(|e| fault(&e.to_string()))?;
    let time = match parts.next() {
        Some(time) => {
            NaiveTime::parse_from_str(time, "%H:%M").map_err(|e| fault(&e.to_string()))?
        }
        None => NaiveTime::MIN,
    };
    let zone = match parts.next() {
        Some(zone) => {
            offset_of(zone).ok_or_else(|| fault(&format!("the zone {zone:?} is not known")))?
        }
        None => 0,
    };
    if parts.next().is_some() {
        return Err(fault("there is text after the zone"));
    }
    let offset = FixedOffset::east_opt(zone).ok_or_else(|| fault("the offset is out of range"))?;
    let local = NaiveDateTime::new(date, time).and_local_timezone(offset).single();
    Ok(local.ok_or_else(|| fault("it is out of range"))?.with_timezone(&Utc))
}

/// Seconds east of UTC.
fn offset_of(zone: &str) -> Option<i32> {
    let bare = zone.strip_prefix("GMT").or_else(|| zone.strip_prefix("UTC")).unwrap_or(zone);
    if bare.is_empty() || zone == "Z" {
        return Some(0);
    }
    let (sign, digits) = match (bare.strip_prefix('+'), bare.strip_prefix('-')) {
        (Some(digits), _) => (1, digits),
        (_, Some(digits)) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    ((0..=18).contains(&hours) && (0..60).contains(&minutes))
        .then_some(sign * (hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_long_and_short_forms() {
        let table = [
            ("1 days 2 hours 3 minutes 4 seconds", 93_784),
            ("1d2h3m4s", 93_784),
            ("2 hrs 5 mins", 7_500),
            ("10 SECONDS", 10),
            ("0s", 0),
        ];
        for (text, seconds) in table {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_to_write() {
        for text in ["", "soon", "5", "5 weeks", "3s 2m", "1d 1d", "-1s", "99999999999999999999s"] {
            let refused = parse_duration(text);
            assert!(refused.is_err_and(|reason| reason.contains("write")), "{text}");
        }
        assert!(parse_duration("400000 days").is_err_and(|reason| reason.contains("too long")));
    }

    #[test]
    fn times_are_read_with_and_without_a_zone() {
        let at = |text: &str| parse_until(text).map(|at| at.to_rfc3339());
        let table = [
            ("2026-11-24", "2026-11-24T00:00:00+00:00"),
            ("2026-11-24 18:30", "2026-11-24T18:30:00+00:00"),
            ("2026-11-24 18:30 UTC", "2026-11-24T18:30:00+00:00"),
            ("2026-11-24 18:30 GMT+2", "2026-11-24T16:30:00+00:00"),
            ("2026-11-24 18:30 -05:30", "2026-11-25T00:00:00+00:00"),
            ("2026-11-24 18:30 +0200", "2026-11-24T16:30:00+00:00"),
        ];
        for (text, time) in table {
            assert_eq!(at(text), Ok(time.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_to_write() {
        let texts =
            ["", "tomorrow", "2026-13-01", "2026-11-24 25:00", "2026-11-24 18:30 Europe/Berlin"];
        for text in texts {
            assert!(parse_until(text).is_err_and(|reason| reason.contains("write")), "{text}");
        }
    }
}
