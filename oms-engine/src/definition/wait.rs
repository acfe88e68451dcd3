//! The times of WAIT: `duration` and `until`, as Conductor reads them.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, Utc};

/// Ten years.
const SECONDS_MAX: u64 = 10 * 366 * 86_400;

/// Reads `1 days 2 hours 3 minutes 4 seconds`: any of the four in this order, each in its long
/// or short form (`d`, `h`, `hr`, `m`, `min`, `s`, `sec` …), with or without spaces, in upper or
/// lower case. As in Conductor a text without any of them is zero.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let fault = |why: &str| {
        format!(
            "duration {text:?} cannot be read: {why}; write whole numbers with their units, days \
             before hours, minutes and seconds, such as `2 days 3 hours`, `5m` or `30 seconds`"
        )
    };
    let too_long =
        || format!("duration {text:?} is too long: write at most {} days", SECONDS_MAX / 86_400);
    let mut rest = text.trim();
    let (mut seconds, mut before) = (0_u64, None);
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        if number.is_empty() {
            return Err(fault(&format!("{rest:?} does not start with a whole number")));
        }
        let (name, after) = split_where(after.trim_start(), |c| !c.is_ascii_alphabetic());
        let Some(unit) = seconds_of(name) else {
            return Err(fault(&format!("{name:?} after {number} is no unit")));
        };
        if before.is_some_and(|before| before <= unit) {
            return Err(fault(&format!("{name:?} comes after a unit that is not larger")));
        }
        before = Some(unit);
        // Digits alone fail to be a number only when they are too many.
        let number = number.parse::<u64>().map_err(|_| too_long())?;
        seconds = number
            .checked_mul(unit)
            .and_then(|more| seconds.checked_add(more))
            .filter(|seconds| *seconds <= SECONDS_MAX)
            .ok_or_else(too_long)?;
        rest = after.trim_start();
    }
    Ok(Duration::from_secs(seconds))
}

fn split_where(text: &str, is_end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(is_end).unwrap_or(text.len()))
}

fn seconds_of(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "d" | "day" | "days" => 86_400,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        _ => return None,
    })
}

/// Reads `yyyy-MM-dd`, `yyyy-MM-dd HH:mm` and `yyyy-MM-dd HH:mm z`. Without a zone it is UTC;
/// Conductor takes the zone of its server there.
///
/// A zone is `UTC`, `GMT`, `Z`, an offset such as `+02:00`, `+0200` or `GMT+2` (east of
/// Greenwich), or an abbreviation that stands for one offset, such as `EST`: that offset all year,
/// as in Java. Dates that no calendar has are refused; Java rolls them over.
pub(crate) fn parse_until(text: &str) -> Result<DateTime<Utc>, String> {
    let fault = |why: &str| {
        format!(
            "until {text:?} cannot be read: {why}; write `2026-12-31`, `2026-12-31 18:30`, which \
             is in UTC, or with a zone `2026-12-31 18:30 +02:00`"
        )
    };
    let mut parts = text.split_whitespace();
    let date = parts.next().ok_or_else(|| fault("it is empty"))?;
    let date = date_of(date).ok_or_else(|| fault(&format!("{date:?} is no date as yyyy-MM-dd")))?;
    let time = match parts.next() {
        Some(time) => {
            time_of(time).ok_or_else(|| fault(&format!("{time:?} is no time as HH:mm")))?
        }
        None => NaiveTime::MIN,
    };
    let zone = parts.collect::<Vec<_>>().join(" ");
    let offset = zone_of(&zone).map_err(|why| fault(&why))?;
    let at = date.and_time(time).checked_sub_offset(offset);
    Ok(at.ok_or_else(|| fault("it is out of range"))?.and_utc())
}

fn date_of(text: &str) -> Option<NaiveDate> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let year = i32::try_from(digits(year, 4, 4)?).ok()?;
    NaiveDate::from_ymd_opt(year, digits(month, 1, 2)?, digits(day, 1, 2)?)
}

fn time_of(text: &str) -> Option<NaiveTime> {
    let (hour, minute) = text.split_once(':')?;
    NaiveTime::from_hms_opt(digits(hour, 1, 2)?, digits(minute, 1, 2)?, 0)
}

/// A number of `min` to `max` digits; unlike `parse` it takes no sign.
fn digits(text: &str, min: usize, max: usize) -> Option<u32> {
    let plain = (min..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// The offset of a zone that has one for ever.
pub(super) fn zone_of(zone: &str) -> Result<FixedOffset, String> {
    let name = zone.to_ascii_uppercase();
    let hours = match name.as_str() {
        "" | "UTC" | "GMT" | "Z" | "WET" => 0,
        "CET" | "WEST" => 1,
        "EET" | "CEST" => 2,
        "EEST" => 3,
        "JST" => 9,
        "EDT" => -4,
        "EST" => -5,
        "MDT" => -6,
        "MST" | "PDT" => -7,
        "PST" | "AKDT" => -8,
        "AKST" => -9,
        "HST" => -10,
        "AST" | "BST" | "CDT" | "CST" | "GST" | "IST" | "SST" => {
            return Err(format!("the zone {zone:?} stands for more than one offset"));
        }
        _ => {
            let bare = name.strip_prefix("GMT").or_else(|| name.strip_prefix("UTC"));
            return offset_of(bare.unwrap_or(&name)).ok_or_else(|| unknown(zone));
        }
    };
    FixedOffset::east_opt(hours * 3_600).ok_or_else(|| unknown(zone))
}

fn unknown(zone: &str) -> String {
    if zone.contains('/') {
        format!("the zone {zone:?} is a place, and its offset depends on the date")
    } else {
        format!("the zone {zone:?} is not known")
    }
}

/// Reads `+h`, `+hh`, `+h:mm`, `+hh:mm` and `+hhmm`, and the same with `-`.
fn offset_of(text: &str) -> Option<FixedOffset> {
    let (sign, clock) = match text.strip_prefix('+') {
        Some(clock) => (1, clock),
        None => (-1, text.strip_prefix('-')?),
    };
    let (hours, minutes) = match clock.split_once(':') {
        Some(parts) => parts,
        None if clock.len() == 4 => clock.split_at_checked(2)?,
        None => (clock, "00"),
    };
    let (hours, minutes) = (digits(hours, 1, 2)?, digits(minutes, 2, 2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i32::try_from(hours * 3_600 + minutes * 60).ok()?;
    FixedOffset::east_opt(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: std::fmt::Debug>(read: Result<T, String>) -> String {
        read.expect_err("is refused")
    }

    fn until(text: &str) -> Result<String, String> {
        parse_until(text).map(|at| at.format("%F %R").to_string())
    }

    #[test]
    fn durations_are_read_in_long_and_short_forms() {
        let units: [(&[&str], u64); 4] = [
            (&["d", "day", "days"], 86_400),
            (&["h", "hr", "hrs", "hour", "hours"], 3_600),
            (&["m", "min", "mins", "minute", "minutes"], 60),
            (&["s", "sec", "secs", "second", "seconds"], 1),
        ];
        for (names, seconds) in units {
            for name in names {
                for text in [format!("5{name}"), format!(" 5  {} ", name.to_uppercase())] {
                    let read = parse_duration(&text);
                    assert_eq!(read, Ok(Duration::from_secs(5 * seconds)), "{text}");
                }
            }
        }
    }

    #[test]
    fn parts_of_a_duration_add_up_and_may_be_left_out() {
        let table = [
            ("1 days 2 hours 3 minutes 4 seconds", 93_784),
            ("1d2h3m4s", 93_784),
            ("1Day 4 SECS", 86_404),
            ("2 hrs\t5mins", 7_500),
            ("0s", 0),
            ("007s", 7),
            ("", 0),
            (" ", 0),
        ];
        for (text, seconds) in table {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_was_given_and_what_to_write() {
        let texts = [
            "soon",
            "5",
            "s",
            "days",
            "5 weeks",
            "5ms",
            "5.0s",
            "-1s",
            "+1s",
            "1d 5",
            "1d, 2h",
            "5 s!",
            "٥s",
            "5ſ",
            "5s é",
            "3s 2m",
            "1d 1d",
            "1 m 1 minutes",
        ];
        for text in texts {
            let reason = refusal(parse_duration(text));
            assert!(reason.starts_with(&format!("duration {text:?} cannot be read")), "{reason}");
            assert!(reason.contains("write"), "{reason}");
        }
        assert!(refusal(parse_duration("5 weeks")).contains("\"weeks\" after 5 is no unit"));
        assert!(refusal(parse_duration("3s 2m")).contains("\"m\" comes after"));
    }

    #[test]
    fn a_duration_over_the_limit_is_an_error_and_no_overflow() {
        assert_eq!(parse_duration("3660d"), Ok(Duration::from_secs(SECONDS_MAX)));
        let texts = [
            "3660d 1s".to_owned(),
            format!("{}d", u64::MAX),
            format!("1d {}s", u64::MAX),
            "99999999999999999999s".to_owned(),
        ];
        for text in texts {
            let reason = refusal(parse_duration(&text));
            assert!(reason.contains("too long: write at most 3660 days"), "{reason}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_in_utc() {
        let table = [
            ("2026-11-24", "2026-11-24 00:00"),
            ("2026-11-24 18:30", "2026-11-24 18:30"),
            (" 2026-1-5  3:04 ", "2026-01-05 03:04"),
            ("2028-02-29 23:59", "2028-02-29 23:59"),
        ];
        for (text, at) in table {
            assert_eq!(until(text), Ok(at.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_offset_is_east_of_greenwich() {
        let table = [
            ("UTC", "12:00"),
            ("gmt", "12:00"),
            ("Z", "12:00"),
            ("+02:00", "10:00"),
            ("+0200", "10:00"),
            ("+2", "10:00"),
            ("GMT+2", "10:00"),
            ("GMT+2:30", "09:30"),
            ("GMT+02:00", "10:00"),
            ("UTC-05:30", "17:30"),
            ("-00:30", "12:30"),
        ];
        for (zone, at) in table {
            let read = until(&format!("2026-07-15 12:00 {zone}"));
            assert_eq!(read, Ok(format!("2026-07-15 {at}")), "{zone}");
        }
        assert_eq!(until("2026-12-31 23:00 -02:00"), Ok("2027-01-01 01:00".to_owned()));
    }

    #[test]
    fn an_abbreviation_is_one_offset_all_year() {
        let table = [
            ("EST", "17:00"),
            ("EDT", "16:00"),
            ("mst", "19:00"),
            ("PST", "20:00"),
            ("HST", "22:00"),
            ("AKST", "21:00"),
            ("CET", "11:00"),
            ("CEST", "10:00"),
            ("EEST", "09:00"),
            ("JST", "03:00"),
        ];
        for day in ["2026-01-15", "2026-07-15"] {
            for (zone, at) in table {
                assert_eq!(until(&format!("{day} 12:00 {zone}")), Ok(format!("{day} {at}")));
            }
        }
    }

    #[test]
    fn a_zone_that_is_no_single_offset_is_refused_by_name() {
        let table = [
            ("Europe/Berlin", "\"Europe/Berlin\" is a place"),
            ("CST", "\"CST\" stands for more than one offset"),
            ("Eastern Standard Time", "\"Eastern Standard Time\" is not known"),
            ("GMT +2", "\"GMT +2\" is not known"),
            ("+24:00", "\"+24:00\" is not known"),
            ("+2:60", "\"+2:60\" is not known"),
            ("GMT++2", "\"GMT++2\" is not known"),
            ("+", "\"+\" is not known"),
            ("+é00", "\"+é00\" is not known"),
        ];
        for (zone, why) in table {
            let reason = refusal(until(&format!("2026-11-24 18:30 {zone}")));
            assert!(reason.contains(why), "{reason}");
            assert!(reason.contains("write") && reason.contains("+02:00"), "{reason}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_was_given_and_what_to_write() {
        let texts = [
            "",
            " ",
            "tomorrow",
            "2026-13-01",
            "2026-02-30",
            "26-01-01",
            "+2026-01-01",
            "12026-01-01",
            "2026-01-01-01",
            "2026-11-24T18:30",
            "2026-11-24 25:00",
            "2026-11-24 24:00",
            "2026-11-24 18:60",
            "2026-11-24 18:30:00",
            "2026-11-24 18",
            "2026-11-24 UTC",
            "2026-11-24 18:30UTC",
        ];
        for text in texts {
            let reason = refusal(parse_until(text));
            assert!(reason.starts_with(&format!("until {text:?} cannot be read")), "{reason}");
            assert!(reason.contains("write"), "{reason}");
        }
    }

    #[test]
    fn the_first_and_the_last_year_are_read_with_any_offset() {
        assert!(parse_until("0000-01-01 00:00 +23:59").is_ok());
        assert!(parse_until("9999-12-31 23:59 -23:59").is_ok());
    }
}
