//! The proleptic Gregorian calendar in integers, over every date that PostgreSQL has (4713 BC to 5874897 AD). Years are
//! astronomical: year 0 is 1 BC, year -4712 is 4713 BC.
//!
//! The conversion is the usual one over eras of 400 years of 146 097 days, with years that begin on 1 March so that the
//! leap day is the last of its year (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"). It is ours because calendar
//! libraries stop at year 9999.

const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_SHIFT_DAYS: i64 = 719_468;

/// A date of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Astronomical.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
}

// === impl Civil ===

impl Civil {
    /// The date so many days after 1970-01-01.
    #[inline]
    pub fn from_days(days: i64) -> Self {
        let days = days.saturating_add(EPOCH_SHIFT_DAYS);
        let era = days.div_euclid(DAYS_PER_ERA);
        let day_of_era = days.rem_euclid(DAYS_PER_ERA);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month, day }
    }

    /// How many days it is after 1970-01-01.
    #[inline]
    pub fn to_days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month_from_march = (self.month + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * DAYS_PER_ERA + day_of_era - EPOCH_SHIFT_DAYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn civil(year: i64, month: i64, day: i64) -> Civil {
        Civil { year, month, day }
    }

    #[test]
    fn dates_over_the_whole_range() {
        for (days, date) in [
            (0, civil(1970, 1, 1)),
            (-1, civil(1969, 12, 31)),
            (17_109, civil(2016, 11, 4)),
            (11_016, civil(2000, 2, 29)),
            (-719_528, civil(0, 1, 1)),
            (-719_529, civil(-1, 12, 31)),
            (2_932_897, civil(10_000, 1, 1)),
            // The first and the last date of PostgreSQL: 4714-11-24 BC and 5874897-12-31.
            (-2_440_588, civil(-4713, 11, 24)),
            (2_145_042_905, civil(5_874_897, 12, 31)),
        ] {
            assert_eq!((Civil::from_days(days), date.to_days()), (date, days));
        }
    }

    #[test]
    fn each_day_of_an_era_follows_the_one_before() {
        let mut today = civil(1999, 12, 31);
        let first = today.to_days() + 1;
        for days in first..=first + DAYS_PER_ERA {
            let date = Civil::from_days(days);
            assert_eq!(date.to_days(), days);
            let tomorrow = [
                civil(today.year, today.month, today.day + 1),
                civil(today.year, today.month + 1, 1),
                civil(today.year + 1, 1, 1),
            ];
            // A month has at least 28 days, and a year ends with the 31st of December.
            let expected = match today {
                Civil { month: 12, day: 31, .. } => tomorrow[2],
                Civil { day: 28.., .. } if date.day == 1 => tomorrow[1],
                _ => tomorrow[0],
            };
            assert_eq!(date, expected);
            today = date;
        }
        assert_eq!(today, civil(2400, 1, 1), "146 097 days are 400 years");
    }
}
