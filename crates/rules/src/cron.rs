//! Cron lines: when a scheduled rule runs.
//!
//! In: five fields (minute, hour, day of month, month, day of week), as in POSIX crontab, with `*`, lists, ranges and
//! steps. Out: which minutes they name, in UTC. Never: the clock.

use sheriffd_event::Timestamp;

/// The most days that are looked back for a minute that was missed: 29 February comes every fourth or eighth year.
const DAYS_BACK: u32 = 9 * 366;

/// A cron line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Days of month and of week are both restricted: then either is enough (POSIX, crontab).
    either_day: bool,
}

/// What is wrong with a cron line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The number of fields is wrong.
    #[error("a schedule has five fields (minute, hour, day of month, month, day of week), here are {0}")]
    Fields(usize),
    /// A field cannot be read.
    #[error(
        "the {name} of a schedule cannot be `{text}`; it is `*`, a number from {low} to {high}, a range `a-b`, a \
        step `*/n`, or several with commas"
    )]
    Field {
        /// The field.
        name: &'static str,
        /// What was written.
        text: String,
        /// The lowest value.
        low: u8,
        /// The highest value.
        high: u8,
    },
}

const FIELDS: [(&str, u8, u8); 5] = [
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 7),
];

impl Cron {
    /// Reads a cron line.
    pub fn parse(text: &str) -> Result<Cron, CronError> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        if parts.len() != FIELDS.len() {
            return Err(CronError::Fields(parts.len()));
        }
        let mut sets = [0_u64; 5];
        for ((part, set), (name, low, high)) in parts.iter().zip(&mut sets).zip(FIELDS) {
            let error = || CronError::Field {
                name,
                text: (*part).to_owned(),
                low,
                high,
            };
            for item in part.split(',') {
                *set |= values(item, low, high).ok_or_else(error)?;
            }
        }
        let [minutes, hours, days, months, mut weekdays] = sets;
        // Sunday is both 0 and 7.
        weekdays |= weekdays >> 7;
        let either_day = parts[2] != "*" && parts[4] != "*";
        Ok(Cron {
            minutes,
            hours,
            days,
            months,
            weekdays,
            either_day,
        })
    }

    /// Whether it names the minute of this time (UTC).
    pub fn is_due(&self, time: Timestamp) -> bool {
        let Some(at) = in_utc(time) else { return false };
        self.names_day(at.date()) && has(self.minutes, at.minute()) && has(self.hours, at.hour())
    }

    /// The last minute that it names after one moment and not after another; `None` when it names none of them.
    pub fn last_due(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let (first, last) = (in_utc(after)?, in_utc(until)?);
        let mut date = last.date();
        for _ in 0..DAYS_BACK {
            if date < first.date() {
                return None;
            }
            if self.names_day(date) {
                let until = if date == last.date() {
                    last.time()
                } else {
                    jiff::civil::Time::MAX
                };
                if let Some(time) = self.last_time(until) {
                    let moment = jiff::tz::TimeZone::UTC.to_timestamp(date.to_datetime(time)).ok()?;
                    let moment = Timestamp(moment.as_millisecond());
                    return (moment > after).then_some(moment);
                }
            }
            date = date.yesterday().ok()?;
        }
        None
    }

    /// The last minute of a day that it names, not after a time of that day.
    fn last_time(&self, until: jiff::civil::Time) -> Option<jiff::civil::Time> {
        for hour in (0..=until.hour()).rev().filter(|hour| has(self.hours, *hour)) {
            let end = if hour == until.hour() { until.minute() } else { 59 };
            if let Some(minute) = (0..=end).rev().find(|minute| has(self.minutes, *minute)) {
                return jiff::civil::Time::new(hour, minute, 0, 0).ok();
            }
        }
        None
    }

    fn names_day(&self, date: jiff::civil::Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let named = if self.either_day {
            day || weekday
        } else {
            day && weekday
        };
        named && has(self.months, date.month())
    }
}

fn in_utc(time: Timestamp) -> Option<jiff::civil::DateTime> {
    let moment = jiff::Timestamp::from_millisecond(time.0).ok()?;
    Some(jiff::tz::TimeZone::UTC.to_datetime(moment))
}

fn has(set: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| set >> value & 1 == 1)
}

/// The values of one item of a field, as bits.
fn values(item: &str, low: u8, high: u8) -> Option<u64> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, step.parse().ok().filter(|step: &u8| *step > 0)?),
        None => (item, 1),
    };
    let (from, to) = match range.split_once('-') {
        Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
        None if range == "*" => (low, high),
        None => {
            let value: u8 = range.parse().ok()?;
            (value, if item.contains('/') { high } else { value })
        }
    };
    if from < low || to > high || from > to {
        return None;
    }
    Some((from..=to).step_by(step.into()).fold(0, |set, value| set | 1 << value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(line: &str, after: &str, until: &str) -> Option<String> {
        let time = |text: &str| Timestamp::parse(text).unwrap();
        Cron::parse(line)
            .unwrap()
            .last_due(time(after), time(until))
            .map(|at| at.to_string())
    }

    #[test]
    fn the_last_minute_that_was_missed_is_found_and_no_earlier_one() {
        let missed = |after, until| last("*/30 4 * * *", after, until);
        assert_eq!(
            missed("2026-06-01T00:00:00Z", "2026-06-03T04:10:00Z").as_deref(),
            Some("2026-06-03T04:00:00Z")
        );
        assert_eq!(
            missed("2026-06-01T00:00:00Z", "2026-06-03T03:59:59Z").as_deref(),
            Some("2026-06-02T04:30:00Z")
        );
        assert_eq!(missed("2026-06-03T04:00:00Z", "2026-06-03T04:29:59Z"), None);
        assert_eq!(
            last("0 0 29 2 *", "2024-03-01T00:00:00Z", "2029-01-01T00:00:00Z").as_deref(),
            Some("2028-02-29T00:00:00Z")
        );
        assert_eq!(last("0 0 31 2 *", "2024-03-01T00:00:00Z", "2029-01-01T00:00:00Z"), None);
    }

    fn due(line: &str, time: &str) -> bool {
        Cron::parse(line).unwrap().is_due(Timestamp::parse(time).unwrap())
    }

    #[test]
    fn a_cron_line_names_minutes() {
        assert!(due("*/30 * * * *", "2026-06-01T10:30:15Z"));
        assert!(!due("*/30 * * * *", "2026-06-01T10:31:00Z"));
        assert!(due("0 22-23,0-5 * * *", "2026-06-01T23:00:00Z"));
        assert!(due("0 4 * * 7", "2026-06-07T04:00:00Z"), "2026-06-07 is a Sunday");
        assert!(
            due("0 0 1 * 1", "2026-06-08T00:00:00Z"),
            "a Monday that is not the first"
        );
    }

    #[test]
    fn a_wrong_cron_line_says_which_field() {
        assert_eq!(Cron::parse("* * *"), Err(CronError::Fields(3)));
        let error = Cron::parse("* 25 * * *").unwrap_err().to_string();
        assert!(error.contains("hour") && error.contains("`25`"), "{error}");
    }
}
