//! Values that nobody thought of: the log and a query agree on each, and any bytes are read or refused.

use proptest::prelude::*;

use super::*;

/// The bytes of a DECIMAL with these digits before and after the point, as the server writes them.
fn stored_decimal(negative: bool, integer: &str, fraction: &str) -> Vec<u8> {
    const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
    let mut bytes = Vec::new();
    let mut push = |digits: &str| {
        let value: u32 = digits.parse().unwrap_or(0);
        bytes.extend_from_slice(&value.to_be_bytes()[4 - BYTES[digits.len()]..]);
    };
    let (leading, groups) = integer.split_at(integer.len() % 9);
    push(leading);
    groups
        .as_bytes()
        .chunks(9)
        .for_each(|group| push(std::str::from_utf8(group).unwrap()));
    fraction
        .as_bytes()
        .chunks(9)
        .for_each(|group| push(std::str::from_utf8(group).unwrap()));
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    bytes[0] ^= 0x80;
    bytes
}

/// A time's or a moment's number of the log, high byte first.
fn packed(whole: i64, base: i64, width: usize, fraction: i64, precision: u8) -> Vec<u8> {
    let bytes = usize::from(precision.div_ceil(2));
    let value = ((whole + base) << (8 * bytes)) + fraction;
    value.to_be_bytes()[8 - width - bytes..].to_vec()
}

proptest! {
    #[test]
    fn decimals_agree(negative: bool, integer in "[0-9]{0,35}", fraction in "[0-9]{0,30}") {
        prop_assume!(!integer.is_empty() || !fraction.is_empty());
        let precision = u8::try_from(integer.len() + fraction.len()).unwrap();
        let scale = u8::try_from(fraction.len()).unwrap();
        let column_type = format!("decimal({precision},{scale})");
        let sign = if negative { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        let printed = format!("{sign}0{integer}{point}{fraction}");
        let column = column(&column_type, "utf8mb4", false);
        let policy = TypePolicy::default();
        let wire = (246, u16::from_be_bytes([precision, scale]));
        let logged = logged(&decoder(&column, wire, &policy), &stored_decimal(negative, &integer, &fraction));
        prop_assert_eq!(logged.clone(), queried(&column, printed.as_bytes(), &policy));
        let Ok(Datum::Text(digits)) = logged else { panic!("{logged:?}") };
        prop_assert_eq!(digits.split_once('.').map_or(0, |(_, digits)| digits.len()), fraction.len());
    }

    #[test]
    fn times_agree(negative: bool, hours in 0..839_i64, minutes in 0..60_i64, seconds in 0..60_i64, precision in 0..=6_u8, fraction in 0..1_000_000_i64) {
        let unit = 10_i64.pow(6 - u32::from(precision));
        let fraction = fraction / unit * unit;
        let stored_unit = 10_i64.pow(6 - 2 * u32::from(precision.div_ceil(2)));
        let sign = if negative { -1 } else { 1 };
        let whole = sign * (hours << 12 | minutes << 6 | seconds);
        let bytes = packed(whole, 0x80_0000, 3, sign * fraction / stored_unit, precision);
        let column = column(&format!("time({precision})"), "utf8mb4", false);
        let policy = TypePolicy::default();
        let expected = sign * ((hours * 3600 + minutes * 60 + seconds) * 1_000_000 + fraction);
        let mut printed = format!("{}{hours:02}:{minutes:02}:{seconds:02}", if negative { "-" } else { "" });
        if precision > 0 {
            printed.push_str(&format!(".{:0width$}", fraction / unit, width = usize::from(precision)));
        }
        prop_assert_eq!(logged(&decoder(&column, (19, precision.into()), &policy), &bytes), Ok(Datum::Int(expected)));
        prop_assert_eq!(queried(&column, printed.as_bytes(), &policy), Ok(Datum::Int(expected)));
    }

    #[test]
    fn moments_agree(year in 0..10_000_i64, month in 0..13_i64, day in 0..32_i64, second in 0..86_400_i64, precision in 0..=6_u8, fraction in 0..1_000_000_i64, nullable: bool) {
        let unit = 10_i64.pow(6 - u32::from(precision));
        let fraction = fraction / unit * unit;
        let stored_unit = 10_i64.pow(6 - 2 * u32::from(precision.div_ceil(2)));
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let whole = ((year * 13 + month) << 5 | day) << 17 | hour << 12 | minute << 6 | second;
        let bytes = packed(whole, 0x80_0000_0000, 5, fraction / stored_unit, precision);
        let column = column(&format!("datetime({precision})"), "utf8mb4", nullable);
        let mut printed = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
        if precision > 0 {
            printed.push_str(&format!(".{:0width$}", fraction / unit, width = usize::from(precision)));
        }
        for invalid_dates in POLICIES {
            let policy = policy(invalid_dates);
            let decoder = decoder(&column, (18, precision.into()), &policy);
            let mut reader = Reader::new("test", &bytes);
            let logged = pushed(|batch| decoder.decode(&mut reader, batch));
            prop_assert_eq!(&logged, &queried(&column, printed.as_bytes(), &policy));
            if invalid_dates == InvalidDates::Text {
                prop_assert_eq!(logged, Ok(text(&printed)));
            } else if let Ok(date) = printed.chars().take(19).collect::<String>().replace(' ', "T").parse::<jiff::civil::DateTime>() {
                let seconds = date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
                prop_assert_eq!(logged, Ok(Datum::Int(seconds * 1_000_000 + fraction)));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let columns = [
            ("decimal(30,10)", (246, 0x1e0a)), ("time(3)", (19, 3)), ("datetime(5)", (18, 5)), ("timestamp(1)", (17, 1)),
            ("varchar(20)", (15, 80)), ("json", (245, 1)), ("point", (255, 1)), ("vector(3)", (242, 1)), ("set('a')", (254, 0xf801)),
            ("uuid", (254, 0xfe10)), ("inet6", (254, 0xfe10)), ("bit(20)", (16, 0x0204)), ("datetime", (12, 0)), ("date", (10, 0)),
        ];
        for (column_type, wire) in columns {
            let column = column(column_type, "sjis", true);
            for invalid_dates in POLICIES {
                let policy = policy(invalid_dates);
                let decoder = decoder(&column, wire, &policy);
                let mut reader = Reader::new("test", &bytes);
                let skipped = decoder.stored(&mut Reader::new("test", &bytes)).is_ok();
                let decoded = pushed(|batch| decoder.decode(&mut reader, batch)).is_ok();
                prop_assert!(skipped || !decoded);
                // Text of any kind is read or refused as well.
                let from_text = queried(&column, &bytes, &policy);
                prop_assert!(!matches!(from_text, Err(CellError::BatchFull(_))));
            }
        }
    }
}
