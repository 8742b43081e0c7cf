//! Whole numbers on the command line.

use std::ops::RangeInclusive;

/// Reads a whole number of `range`. The error says what is expected: of a word that is no number, clap's own says only that a digit is invalid.
pub(crate) fn whole<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number =
            text.parse().ok().filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("a whole number from {} to {} is expected", range.start(), range.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn what_is_no_such_number_is_told_what_is_expected() {
        let port = whole::<u16>(1..=65_535);
        assert_eq!((port("1"), port("65535")), (Ok(1), Ok(65_535)));
        for wrong in ["0", "65536", "two", "", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(port(wrong), Err("a whole number from 1 to 65535 is expected".to_owned()), "{wrong}");
        }
    }
}
