//! Moments of `TIMESTAMP` columns as Kafka Connect's JDBC source stored them.
//!
//! ```text
//!   the row's moment      10:00 UTC
//!   what the server says  12:00        in the time zone of the session, which is the server's (+02:00)
//!   what the driver makes 12:00 UTC    of that text, in the connector's `db.timezone`: stored as the offset
//! ```
//!
//! Connector/J and MariaDB's driver do this alike. So the offset is a wall clock of the server's zone. One that comes twice, in the hour that
//! is put back in autumn, is the earlier of the two, from which a few rows come again; one that is left out in spring counts as before that.

use mysql_async::Conn;
use tailrace_core::{Error, Result};
use tailrace_sql::take_over::{Matched, clock_text};

use crate::connect::{Texts, texts};

const SECOND_US: i64 = 1_000_000;
/// Longer than any clock is put on or back, and shorter than the time between two such changes.
const AROUND_S: i64 = 86_400;
/// From here on, and until there, the server converts whatever is asked about one time; it leaves others as they are. 2 January 1970 with all
/// that is around it, and 19 January 2038.
const FIRST_S: i64 = 4 * 86_400;
const LAST_S: i64 = 2_147_483_647 - 3 * 86_400;

/// Makes moments of the times that are wall clocks of the server.
pub(super) async fn to_moments(connection: &mut Conn, matched: &mut Matched) -> Result<()> {
    for taken in matched.moments() {
        let Some(wall_us) = taken.time_us() else { continue };
        let (table, column) = taken.column();
        let wall = clock_text(wall_us).unwrap_or_default();
        let wall_s = wall_us.div_euclid(SECOND_US);
        if !(FIRST_S..=LAST_S).contains(&wall_s) {
            let message = format!(
                "the offset of {table} is the time {wall} ({wall_us} µs since 1970), and column {column} is a TIMESTAMP, which has none such"
            );
            return Err(Error::definite("offsets_unreadable", message));
        }
        let (zone, around) = offsets_s(connection, [wall_s - AROUND_S, wall_s + AROUND_S]).await?;
        let moments_s = around.map(|offset_s| wall_s - offset_s);
        let (_, there) = offsets_s(connection, moments_s).await?;
        let moment_us = earliest(wall_s, moments_s, there) * SECOND_US + wall_us.rem_euclid(SECOND_US);
        let note = format!(
            "column {column} of {table} is a TIMESTAMP, which the other connector's driver reads as the server writes it in its own time zone \
             ({zone}): {wall} there is the moment {} UTC. With another `db.timezone` than UTC, or a time zone of its own in `connection.url`, \
             the offset would be another moment: do not take it over then",
            clock_text(moment_us).unwrap_or_default()
        );
        taken.set_moment(moment_us, note);
    }
    Ok(())
}

/// The server's time zone, and how far its clock is ahead of UTC at each moment, seconds.
async fn offsets_s(connection: &mut Conn, moments_s: [i64; 2]) -> Result<(String, [i64; 2])> {
    let offset = |moment_s: i64| {
        let moment = clock_text(moment_s.saturating_mul(SECOND_US)).unwrap_or_default();
        format!("TIMESTAMPDIFF(SECOND, '{moment}', CONVERT_TZ('{moment}', '+00:00', @@GLOBAL.time_zone))")
    };
    let [first, second] = moments_s.map(offset);
    let query = format!("SELECT @@GLOBAL.time_zone, {first}, {second}");
    let rows = texts(connection, &query, "ask for the server's time zone").await?;
    understood(rows.first())
}

fn understood(row: Option<&Texts>) -> Result<(String, [i64; 2])> {
    let zone = row.and_then(|row| row.text(0)).unwrap_or_default().to_owned();
    let number = |column| row.and_then(|row| row.text(column)?.parse().ok());
    match (number(1), number(2)) {
        (Some(first), Some(second)) => Ok((zone, [first, second])),
        _ => {
            let message = format!(
                "the server cannot say when it is what time in its time zone `{zone}`, in which the other connector's driver read its TIMESTAMP \
                 columns: load its tables of time zones (mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql mysql), and try again"
            );
            Err(Error::definite("offsets_unreadable", message))
        }
    }
}

/// The first of two moments at which the clock shows a time; where it is left out, the one that is before.
fn earliest(wall_s: i64, moments_s: [i64; 2], offsets_s: [i64; 2]) -> i64 {
    let [first, second] = moments_s;
    let shown = moments_s.into_iter().zip(offsets_s);
    let shown = shown.filter(|(moment_s, offset_s)| moment_s + offset_s == wall_s);
    let shown = shown.map(|(moment_s, _)| moment_s).min();
    shown.unwrap_or_else(|| first.min(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_S: i64 = 3_600;

    /// A zone an hour ahead, two in summer: the clock is put on at one moment, or back.
    fn moment(wall_s: i64, change_s: i64, (before_s, after_s): (i64, i64)) -> i64 {
        let offset = |moment_s: i64| if moment_s < change_s { before_s } else { after_s };
        let around = [wall_s - AROUND_S, wall_s + AROUND_S].map(offset);
        let moments = around.map(|offset_s| wall_s - offset_s);
        earliest(wall_s, moments, moments.map(offset))
    }

    #[test]
    fn a_clock_that_is_put_back_shows_an_hour_twice_and_the_earlier_is_taken() {
        let change = 1_000 * HOUR_S;
        let put_back = |wall_s| moment(wall_s, change, (2 * HOUR_S, HOUR_S));
        // Until the change it shows up to 1002 hours, and goes on at 1001.
        assert_eq!(put_back(change + HOUR_S - 1), change - HOUR_S - 1);
        assert_eq!(put_back(change + HOUR_S), change - HOUR_S);
        assert_eq!(put_back(change + 2 * HOUR_S - 1), change - 1);
        assert_eq!(put_back(change + 2 * HOUR_S), change + HOUR_S);
    }

    #[test]
    fn a_time_that_is_left_out_is_one_before_the_change() {
        let change = 1_000 * HOUR_S;
        let put_on = |wall_s| moment(wall_s, change, (HOUR_S, 2 * HOUR_S));
        assert_eq!(put_on(change + HOUR_S - 1), change - 1);
        assert_eq!(put_on(change + HOUR_S), change - HOUR_S);
        assert_eq!(put_on(change + 2 * HOUR_S), change);
    }

    #[test]
    fn a_zone_that_the_server_does_not_know_is_refused_with_the_remedy() {
        assert_eq!(
            understood(Some(&Texts::of(&["+02:00", "7200", "7200"]))).unwrap(),
            ("+02:00".to_owned(), [7_200, 7_200])
        );
        for row in [None, Some(&Texts::of(&["Europe/Berlin"]))] {
            let error = understood(row).unwrap_err();
            assert_eq!(error.code(), "offsets_unreadable");
            assert!(error.to_string().contains("mysql_tzinfo_to_sql"), "{error}");
        }
    }
}
