//! When a schedule fires: Spring's expressions in a time zone, by croner.
//!
//! Where clocks go forward, an expression with one hour and minute fires when the gap ends, and
//! where they go back, the first time alone: a daily run is neither lost nor doubled. Expressions
//! with wildcards or ranges follow the clock: they have no fire in a gap, and those of the hour
//! that comes twice fire twice.

use chrono::{DateTime, FixedOffset, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use super::{UTC, WorkflowSchedule};
use crate::definition::faults::{Fault, Faults};
use crate::definition::wait::zone_of;

/// Fires that are told of in one call.
const TOLD_MAX: usize = 1_000;

/// One fire: when, and by which of the schedule's expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) at: DateTime<Utc>,
    pub(crate) cron: usize,
}

/// A zone by its place or its offset.
#[derive(Clone, Copy, Debug)]
enum Zone {
    Place(Tz),
    Offset(FixedOffset),
}

#[derive(Clone, Debug)]
struct One {
    cron: Cron,
    zone: Zone,
    /// As Conductor shows it: the expression and the zone.
    text: String,
    zone_id: String,
}

/// The compiled expressions of a schedule, and between which times they count.
#[derive(Clone, Debug)]
pub(crate) struct Crons {
    all: Vec<One>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

impl Crons {
    pub(crate) fn compile(schedule: &WorkflowSchedule) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let mut all = Vec::new();
        for (path, expression, zone_id) in schedule.expressions() {
            match parse(expression) {
                Ok(cron) => match find_zone(zone_id) {
                    Ok(zone) => all.push(One::new(cron, zone, expression, zone_id)),
                    Err(reason) => faults.push(Fault::new(format!("{path}.zoneId"), reason)),
                },
                Err(reason) => faults.push(Fault::new(format!("{path}.cronExpression"), reason)),
            }
        }
        Faults::check(schedule.subject(), faults)?;
        let time = |ms: Option<i64>| ms.and_then(DateTime::from_timestamp_millis);
        let (from, to) = (time(schedule.schedule_start_time), time(schedule.schedule_end_time));
        Ok(Self { all, from, to })
    }

    /// The first fire behind a time.
    pub(crate) fn behind(&self, time: DateTime<Utc>) -> Option<Due> {
        match self.from.filter(|from| time < *from) {
            Some(from) => self.first(|_| (from, true)),
            None => self.first(|_| (time, false)),
        }
    }

    /// The fire that follows another: the same time by a later expression, or a later time.
    pub(crate) fn following(&self, fire: Due) -> Option<Due> {
        self.first(|cron| (fire.at, cron > fire.cron))
    }

    fn first(&self, from: impl Fn(usize) -> (DateTime<Utc>, bool)) -> Option<Due> {
        let fires = self.all.iter().enumerate().filter_map(|(cron, one)| {
            let (time, inclusive) = from(cron);
            Some(Due { at: one.next(time, inclusive)?, cron })
        });
        fires.min().filter(|due| self.to.is_none_or(|to| due.at <= to))
    }

    /// Where to go on with a fire that is due: there, or, where more than `count` fires lie
    /// between it and now, at the oldest of the last `count`.
    pub(crate) fn caught_up(&self, due: Due, count: usize, now: DateTime<Utc>) -> Due {
        let until = self.to.map_or(now, |to| to.min(now));
        let mut last: Vec<Due> = Vec::new();
        for (cron, one) in self.all.iter().enumerate() {
            let mut at = one.previous(until, true);
            for _ in 0..count {
                let Some(fire) = at.map(|at| Due { at, cron }).filter(|fire| *fire > due) else {
                    break;
                };
                last.push(fire);
                at = one.previous(fire.at, false);
            }
        }
        last.sort_unstable();
        // With `due` itself there is one more.
        let over = (last.len() + 1).saturating_sub(count);
        over.checked_sub(1).and_then(|index| last.get(index)).copied().unwrap_or(due)
    }

    /// The expression and the zone of a fire, as Conductor puts them into the run's input.
    pub(crate) fn text(&self, fire: Due) -> &str {
        self.all.get(fire.cron).map_or("", |one| &one.text)
    }

    /// The zone of a fire.
    pub(crate) fn zone_id(&self, fire: Due) -> &str {
        self.all.get(fire.cron).map_or(UTC, |one| &one.zone_id)
    }
}

impl One {
    fn new(cron: Cron, zone: Zone, expression: &str, zone_id: &str) -> Self {
        let zone_id = if zone_id.is_empty() { UTC } else { zone_id }.to_owned();
        Self { cron, zone, text: format!("{expression} {zone_id}"), zone_id }
    }

    fn next(&self, time: DateTime<Utc>, inclusive: bool) -> Option<DateTime<Utc>> {
        match &self.zone {
            Zone::Place(zone) => next_in(&self.cron, zone, time, inclusive),
            Zone::Offset(zone) => next_in(&self.cron, zone, time, inclusive),
        }
    }

    fn previous(&self, time: DateTime<Utc>, inclusive: bool) -> Option<DateTime<Utc>> {
        match &self.zone {
            Zone::Place(zone) => previous_in(&self.cron, zone, time, inclusive),
            Zone::Offset(zone) => previous_in(&self.cron, zone, time, inclusive),
        }
    }
}

fn next_in<Z: TimeZone>(
    cron: &Cron,
    zone: &Z,
    time: DateTime<Utc>,
    inclusive: bool,
) -> Option<DateTime<Utc>> {
    let found = cron.find_next_occurrence(&time.with_timezone(zone), inclusive).ok()?;
    Some(found.with_timezone(&Utc))
}

fn previous_in<Z: TimeZone>(
    cron: &Cron,
    zone: &Z,
    time: DateTime<Utc>,
    inclusive: bool,
) -> Option<DateTime<Utc>> {
    let found = cron.find_previous_occurrence(&time.with_timezone(zone), inclusive).ok()?;
    Some(found.with_timezone(&Utc))
}

fn parse(expression: &str) -> Result<Cron, String> {
    let hint = "write six fields, seconds first, such as `0 30 2 * * MON-FRI`, or `@daily`";
    let refused = |why: &str| format!("{expression:?} cannot be read: {why}; {hint}");
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        .dom_and_dow(true)
        .sloppy_ranges(true)
        .build();
    let plain = expression.trim();
    if plain.is_empty() {
        return Err(format!("is missing: {hint}"));
    }
    // Croner's own, which mean something else elsewhere.
    if plain.contains('+') {
        return Err(refused("`+` means nothing in it"));
    }
    let known = if plain.eq_ignore_ascii_case("@midnight") { "@daily" } else { plain };
    let cron =
        parser.parse(known).map_err(|error| refused(error.to_string().trim_end_matches('.')))?;
    // Any time will do: what never comes from here never comes.
    let begin = DateTime::from_timestamp(0, 0).unwrap_or_default();
    match cron.find_next_occurrence(&begin, true) {
        Ok(_) => Ok(cron),
        Err(_) => Err(format!("{expression:?} never fires: no date is like that")),
    }
}

fn find_zone(zone_id: &str) -> Result<Zone, String> {
    let zone_id = if zone_id.is_empty() { UTC } else { zone_id };
    if let Ok(place) = zone_id.parse::<Tz>() {
        return Ok(Zone::Place(place));
    }
    match zone_of(zone_id) {
        Ok(offset) => Ok(Zone::Offset(offset)),
        Err(_) => {
            let hint =
                "write a place such as `Europe/Berlin`, an offset such as `+02:00`, or `UTC`";
            Err(format!("the zone {zone_id:?} is not known: {hint}"))
        }
    }
}

/// When an expression fires next after a time: the next `count` times, 1,000 at most.
///
/// ```
/// use oms_engine::chrono::{DateTime, Utc};
/// use oms_engine::definition::next_fires;
///
/// let noon: DateTime<Utc> = "2026-03-28T12:00:00Z".parse()?;
/// let fires = next_fires("0 30 2 * * *", "Europe/Berlin", noon, 2)?;
/// // Clocks go forward on the 29th: 02:30 does not exist.
/// assert_eq!(fires[0].to_string(), "2026-03-29 01:00:00 UTC");
/// assert_eq!(fires[1].to_string(), "2026-03-30 00:30:00 UTC");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// What is wrong with the expression or the zone.
pub fn next_fires(
    expression: &str,
    zone_id: &str,
    after: DateTime<Utc>,
    count: usize,
) -> Result<Vec<DateTime<Utc>>, Faults> {
    let schedule = WorkflowSchedule::new("next fires", expression, "").zone(zone_id);
    let crons = Crons::compile(&schedule)?;
    let first = crons.behind(after);
    let fires = std::iter::successors(first, |due| crons.following(*due));
    Ok(fires.take(count.min(TOLD_MAX)).map(|due| due.at).collect())
}
