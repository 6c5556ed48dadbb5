//! `DURATION` of the command line: `500ms`, `10s`, `2m`, `1h`.

use std::time::Duration;

/// The longest a run may be told to last, so that no clock arithmetic overflows.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Parses a whole number and its unit.
///
/// # Errors
/// What to write instead.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || "write a whole number and a unit, such as 500ms, 10s, 2m or 1h".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let duration = number.checked_mul(millis).map(Duration::from_millis);
    match duration.filter(|d| *d <= LONGEST) {
        Some(Duration::ZERO) => Err("must be longer than zero".to_owned()),
        Some(duration) => Ok(duration),
        None => Err("must be shorter than ten years".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        let ms = |text| parse(text).map(|d| d.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("10s"), Ok(10_000));
        assert_eq!(ms("2m"), Ok(120_000));
        assert_eq!(ms("1h"), Ok(3_600_000));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "10 s",
            "1d",
            "0s",
            "99999999999999999999s",
            "999999h",
            "1s2m",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
