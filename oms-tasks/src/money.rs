//! Amounts of money: whole minor units of a currency, never a float.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest amount, in minor units: what JSON numbers hold exactly.
pub const MINOR_MAX: i64 = 9_007_199_254_740_991;

/// Three letters A-Z of ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// Those of ISO 4217 whose minor unit is not a hundredth: without one, and with thousandths.
const WHOLE: [&str; 17] = [
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND",
    "VUV", "XAF", "XOF", "XPF",
];
const THOUSANDTHS: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// Minor units (cents) of a currency; from `-`[`MINOR_MAX`] to [`MINOR_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Money {
    minor: i64,
    currency: Currency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    minor: i64,
    currency: Currency,
}

/// Why amounts cannot be reckoned with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// Not three letters A-Z.
    #[error("{0:?} is no currency: use three letters A-Z")]
    NoCurrency(String),
    /// Amounts of different currencies are not added.
    #[error("{0} and {1} are not added")]
    Currencies(Currency, Currency),
    /// Beyond [`MINOR_MAX`].
    #[error("an amount beyond {MINOR_MAX} minor units")]
    TooLarge,
}

impl Currency {
    /// The letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only letters A-Z are taken in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Digits behind the point, as ISO 4217 has them.
    #[must_use]
    pub fn digits(self) -> u32 {
        match self.as_str() {
            letters if WHOLE.contains(&letters) => 0,
            letters if THOUSANDTHS.contains(&letters) => 3,
            "CLF" | "UYW" => 4,
            _ => 2,
        }
    }
}

impl TryFrom<&str> for Currency {
    type Error = MoneyError;

    fn try_from(text: &str) -> Result<Self, MoneyError> {
        let letters: Option<[u8; 3]> = text.as_bytes().try_into().ok();
        letters
            .filter(|letters| letters.iter().all(u8::is_ascii_uppercase))
            .map(Self)
            .ok_or_else(|| MoneyError::NoCurrency(text.to_owned()))
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;

    fn try_from(text: String) -> Result<Self, MoneyError> {
        Self::try_from(text.as_str())
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<Parts> for Money {
    type Error = MoneyError;

    fn try_from(parts: Parts) -> Result<Self, MoneyError> {
        Self::new(parts.minor, parts.currency)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} minor units {}", self.minor, self.currency)
    }
}

impl Money {
    /// An amount.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn new(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        if (-MINOR_MAX..=MINOR_MAX).contains(&minor) {
            Ok(Self { minor, currency })
        } else {
            Err(MoneyError::TooLarge)
        }
    }

    /// Nothing.
    #[must_use]
    pub fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// Minor units.
    #[must_use]
    pub fn minor(self) -> i64 {
        self.minor
    }

    /// As people write it: `24.99 EUR`.
    #[must_use]
    pub fn written(self) -> String {
        let (sign, minor) = (if self.minor < 0 { "-" } else { "" }, self.minor.unsigned_abs());
        let digits = self.currency.digits();
        let unit = 10_u64.pow(digits);
        let (whole, rest, width) = (minor / unit, minor % unit, digits as usize);
        match digits {
            0 => format!("{sign}{whole} {}", self.currency),
            _ => format!("{sign}{whole}.{rest:0>width$} {}", self.currency),
        }
    }

    /// Of the amount.
    #[must_use]
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// The sum of both.
    ///
    /// # Errors
    /// [`MoneyError::Currencies`], [`MoneyError::TooLarge`].
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        // Neither is near the end of the type.
        Self::new(self.minor.saturating_add(other.minor), self.currency)
    }

    /// The first without the second.
    ///
    /// # Errors
    /// As [`plus`](Self::plus).
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        Self::new(self.minor.saturating_sub(other.minor), self.currency)
    }

    /// So many pieces at this price.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn times(self, pieces: i64) -> Result<Self, MoneyError> {
        let minor = self.minor.checked_mul(pieces).ok_or(MoneyError::TooLarge)?;
        Self::new(minor, self.currency)
    }

    /// The sum of all.
    ///
    /// # Errors
    /// As [`plus`](Self::plus).
    pub fn sum(
        currency: Currency,
        amounts: impl IntoIterator<Item = Self>,
    ) -> Result<Self, MoneyError> {
        amounts.into_iter().try_fold(Self::zero(currency), Self::plus)
    }

    /// Splits the amount by weights so that no minor unit is lost: each part is the exact share
    /// rounded down, and the units that are left go to the first parts of a weight. None where all
    /// weights are 0.
    #[must_use]
    pub fn split(self, weights: &[u32]) -> Option<Vec<Self>> {
        let whole: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
        if whole == 0 {
            return None;
        }
        let share = |weight: u32| (i128::from(self.minor) * i128::from(weight)).div_euclid(whole);
        let given: i128 = weights.iter().map(|weight| share(*weight)).sum();
        let mut left = i128::from(self.minor) - given;
        let part = |weight: &u32| {
            let one = i128::from(*weight > 0 && left > 0);
            left -= one;
            let minor = i64::try_from(share(*weight) + one).ok()?;
            Some(Self { minor, currency: self.currency })
        };
        weights.iter().map(part).collect()
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            return Ok(());
        }
        Err(MoneyError::Currencies(self.currency, other.currency))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn euro(minor: i64) -> Money {
        Money::new(minor, Currency::try_from("EUR").unwrap()).unwrap()
    }

    #[test]
    fn amounts_are_written_with_the_digits_of_their_currency() {
        for (minor, currency, text) in [
            (2_499, "EUR", "24.99 EUR"),
            (-5, "EUR", "-0.05 EUR"),
            (500, "JPY", "500 JPY"),
            (1_234, "KWD", "1.234 KWD"),
            (7, "CLF", "0.0007 CLF"),
        ] {
            let money = Money::new(minor, Currency::try_from(currency).unwrap()).unwrap();
            assert_eq!(money.written(), text);
        }
    }

    #[test]
    fn amounts_of_two_currencies_are_not_added() {
        let francs = Money::zero(Currency::try_from("CHF").unwrap());
        assert!(matches!(euro(1).plus(francs), Err(MoneyError::Currencies(..))));
        assert!(matches!(euro(1).minus(francs), Err(MoneyError::Currencies(..))));
    }

    #[test]
    fn what_is_no_currency_or_too_large_is_refused_also_as_json() {
        for text in ["", "eur", "EURO", "E1R", "ÄB"] {
            assert!(Currency::try_from(text).is_err(), "{text}");
        }
        for json in [
            r#"{"minor": 1.5, "currency": "EUR"}"#,
            r#"{"minor": 9007199254740992, "currency": "EUR"}"#,
            r#"{"minor": 1, "currency": "eur"}"#,
            r#"{"minor": 1, "currency": "EUR", "major": 0}"#,
        ] {
            assert!(serde_json::from_str::<Money>(json).is_err(), "{json}");
        }
        let read: Money = serde_json::from_str(r#"{"minor": 5, "currency": "EUR"}"#).unwrap();
        assert_eq!(read, euro(5));
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"{"minor":5,"currency":"EUR"}"#);
    }

    proptest! {
        #[test]
        fn a_sum_is_that_of_whole_numbers_in_any_order_or_refused(
            mut minors in prop::collection::vec(-MINOR_MAX..=MINOR_MAX, 0..12),
        ) {
            let currency = Currency::try_from("EUR").unwrap();
            let exact: i128 = minors.iter().map(|minor| i128::from(*minor)).sum();
            if let Ok(sum) = Money::sum(currency, minors.iter().map(|minor| euro(*minor))) {
                prop_assert_eq!(i128::from(sum.minor()), exact);
            }
            // Amounts of one sign never pass the limit on the way and come back.
            minors.iter_mut().for_each(|minor| *minor = minor.abs());
            let exact: i128 = minors.iter().map(|minor| i128::from(*minor)).sum();
            let sum = Money::sum(currency, minors.iter().map(|minor| euro(*minor)));
            prop_assert_eq!(sum.is_ok(), exact <= i128::from(MINOR_MAX));
            minors.reverse();
            prop_assert_eq!(sum, Money::sum(currency, minors.iter().map(|minor| euro(*minor))));
        }

        #[test]
        fn what_is_added_and_taken_away_again_leaves_the_amount(a in -MINOR_MAX..=MINOR_MAX, b in -MINOR_MAX..=MINOR_MAX) {
            if let Ok(sum) = euro(a).plus(euro(b)) {
                prop_assert_eq!(sum.minus(euro(b)), Ok(euro(a)));
            }
        }

        #[test]
        fn a_price_times_pieces_is_their_sum(price in 0..1_000_000_i64, pieces in 0..200_i64) {
            let currency = Currency::try_from("EUR").unwrap();
            let one_by_one = Money::sum(currency, (0..pieces).map(|_| euro(price)));
            prop_assert_eq!(euro(price).times(pieces), one_by_one);
        }

        #[test]
        fn the_parts_of_a_split_add_up_and_each_is_within_one_of_its_share(
            minor in -MINOR_MAX..=MINOR_MAX,
            weights in prop::collection::vec(0..10_000_u32, 1..20),
        ) {
            let whole: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
            let Some(parts) = euro(minor).split(&weights) else {
                prop_assert_eq!(whole, 0);
                return Ok(());
            };
            prop_assert_eq!(parts.len(), weights.len());
            let sum: i128 = parts.iter().map(|part| i128::from(part.minor())).sum();
            prop_assert_eq!(sum, i128::from(minor));
            for (part, weight) in parts.iter().zip(&weights) {
                let off = i128::from(part.minor()) * whole - i128::from(minor) * i128::from(*weight);
                prop_assert!(off.abs() <= whole, "{part} of weight {weight}");
                prop_assert!(*weight > 0 || part.minor() == 0);
            }
        }
    }
}
