//! Tracking numbers as the Universal Postal Union writes them (UPU S10): a service, eight digits, a check
//! digit, a country.

use std::fmt;
use std::str::FromStr;

/// Serial numbers of a service and a country.
pub const SERIALS: u32 = 100_000_000;
const WEIGHTS: [u32; 8] = [8, 6, 4, 2, 3, 5, 9, 7];

/// A tracking number whose check digit is right, such as `RR473124829GB`.
///
/// ```
/// use oms_tasks::shipping::TrackingNumber;
///
/// let number = TrackingNumber::new("RR", 47_312_482, "GB")?;
/// assert_eq!(number.to_string(), "RR473124829GB");
/// assert!("RR473124820GB".parse::<TrackingNumber>().is_err());
/// # Ok::<_, oms_tasks::shipping::InvalidTrackingNumber>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackingNumber {
    service: [u8; 2],
    serial: u32,
    country: [u8; 2],
}

/// Why a text is no tracking number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTrackingNumber {
    /// It is not two letters A-Z, nine digits and two letters A-Z.
    #[error("not two letters A-Z, nine digits and two letters A-Z")]
    Shape,
    /// The serial number has more than eight digits.
    #[error("a serial number has at most eight digits")]
    Serial,
    /// A digit is wrong, or two have changed places.
    #[error("the check digit is {found}, and must be {wanted}")]
    CheckDigit {
        /// What stands there.
        found: u8,
        /// What the serial number asks for.
        wanted: u8,
    },
}

impl TrackingNumber {
    /// Puts a number together; `service` and `country` are two letters A-Z each.
    ///
    /// # Errors
    /// [`InvalidTrackingNumber`].
    pub fn new(service: &str, serial: u32, country: &str) -> Result<Self, InvalidTrackingNumber> {
        if serial >= SERIALS {
            return Err(InvalidTrackingNumber::Serial);
        }
        Ok(Self { service: letters(service)?, serial, country: letters(country)? })
    }

    /// The digit that follows the serial number.
    #[must_use]
    pub fn check_digit(&self) -> u8 {
        check_digit(self.serial)
    }
}

fn letters(text: &str) -> Result<[u8; 2], InvalidTrackingNumber> {
    let letters: [u8; 2] = text.as_bytes().try_into().map_err(|_| InvalidTrackingNumber::Shape)?;
    let all = letters.iter().all(u8::is_ascii_uppercase);
    all.then_some(letters).ok_or(InvalidTrackingNumber::Shape)
}

fn check_digit(serial: u32) -> u8 {
    let mut rest = serial;
    let sum: u32 = WEIGHTS
        .iter()
        .rev()
        .map(|weight| {
            let digit = rest % 10;
            rest /= 10;
            digit * weight
        })
        .sum();
    match 11 - sum % 11 {
        10 => 0,
        11 => 5,
        digit => u8::try_from(digit).unwrap_or(0),
    }
}

impl fmt::Display for TrackingNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([a, b], [c, d]) = (self.service.map(char::from), self.country.map(char::from));
        write!(f, "{a}{b}{:08}{}{c}{d}", self.serial, self.check_digit())
    }
}

impl FromStr for TrackingNumber {
    type Err = InvalidTrackingNumber;

    fn from_str(text: &str) -> Result<Self, InvalidTrackingNumber> {
        let shape = InvalidTrackingNumber::Shape;
        let (service, rest) = text.split_at_checked(2).ok_or(shape)?;
        let (digits, country) = rest.split_at_checked(9).ok_or(shape)?;
        if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(shape);
        }
        let digits: u32 = digits.parse().map_err(|_| shape)?;
        let number = Self::new(service, digits / 10, country)?;
        let (found, wanted) = (u8::try_from(digits % 10).unwrap_or(0), number.check_digit());
        if found != wanted {
            return Err(InvalidTrackingNumber::CheckDigit { found, wanted });
        }
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_check_digit_is_that_of_the_standard() {
        // 10 becomes 0, and 11 becomes 5.
        for (serial, digit) in
            [(47_312_482, 9), (12_345_678, 5), (0, 5), (7, 6), (6, 2), (20_000_000, 6)]
        {
            assert_eq!(check_digit(serial), digit, "{serial}");
        }
        let ten = (0..SERIALS).find(|serial| {
            let digits: Vec<u32> =
                format!("{serial:08}").chars().filter_map(|c| c.to_digit(10)).collect();
            digits.iter().zip(WEIGHTS).map(|(digit, weight)| digit * weight).sum::<u32>() % 11 == 1
        });
        assert_eq!(check_digit(ten.unwrap()), 0);
    }

    #[test]
    fn what_is_no_tracking_number_is_refused_with_the_reason() {
        use InvalidTrackingNumber::{CheckDigit, Serial, Shape};
        for (text, wanted) in [
            ("", Shape),
            ("RR473124829", Shape),
            ("rr473124829GB", Shape),
            ("RR47312482XGB", Shape),
            ("RR473124829GBX", Shape),
            ("RR+73124829GB", Shape),
            ("RR473124829G\u{dc}", Shape),
            ("RR473124828GB", CheckDigit { found: 8, wanted: 9 }),
        ] {
            assert_eq!(text.parse::<TrackingNumber>(), Err(wanted), "{text}");
        }
        assert_eq!(TrackingNumber::new("RR", SERIALS, "GB"), Err(Serial));
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_is_written(
            service in "[A-Z]{2}", serial in 0..SERIALS, country in "[A-Z]{2}"
        ) {
            let number = TrackingNumber::new(&service, serial, &country).unwrap();
            let text = number.to_string();
            prop_assert_eq!(text.len(), 13);
            prop_assert_eq!(text.parse::<TrackingNumber>(), Ok(number));
        }

        /// All weights differ and none shares a factor with 11; only where the check digit stands for two
        /// sums may a wrong digit pass.
        #[test]
        fn a_wrong_digit_is_found(serial in 0..SERIALS, place in 0_u32..8, by in 1_u32..10) {
            let unit = 10_u32.pow(place);
            let digit = serial / unit % 10;
            let wrong = serial - digit * unit + (digit + by) % 10 * unit;
            let (right, found) = (check_digit(serial), check_digit(wrong));
            // 5 stands for 11 too.
            prop_assert!(right != found || right == 5, "{serial} {wrong}");
        }

        #[test]
        fn whatever_is_read_is_no_panic(text in "\\PC{0,16}") {
            prop_assert!(text.parse::<TrackingNumber>().is_err() || text.len() == 13);
        }
    }
}
