//! Proportions of the three splits.

use std::str::FromStr;

use crate::data::Split;
use crate::error::DataError;

/// Proportions of training, validation and test data: each 0 to 1, together 1, training above 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fractions {
    /// Share of training data.
    pub train: f64,
    /// Share of validation data; 0 for none.
    pub validation: f64,
    /// Share of test data; 0 for none.
    pub test: f64,
}

impl Default for Fractions {
    fn default() -> Self {
        Fractions { train: 0.7, validation: 0.1, test: 0.2 }
    }
}

impl Fractions {
    /// Checked proportions.
    ///
    /// # Errors
    /// [`DataError::Fractions`] when one is outside 0 to 1, training is 0 or the sum is not 1
    /// (within 1e-6).
    pub fn new(train: f64, validation: f64, test: f64) -> Result<Self, DataError> {
        let all = [train, validation, test];
        let refuse = |problem| Err(DataError::Fractions { train, validation, test, problem });
        if all.iter().any(|fraction| !(0.0..=1.0).contains(fraction)) {
            return refuse("each must lie between 0 and 1");
        }
        if train == 0.0 {
            return refuse("training data must not be empty");
        }
        let sum: f64 = all.iter().sum();
        if (sum - 1.0).abs() > 1e-6 {
            return refuse("they must add up to 1");
        }
        Ok(Fractions { train: train / sum, validation: validation / sum, test: test / sum })
    }

    /// The splits with a share above 0 and their shares, in their order.
    pub(super) fn wanted(&self) -> Vec<(Split, f64)> {
        let all = [(Split::Train, self.train), (Split::Validation, self.validation), (Split::Test, self.test)];
        all.into_iter().filter(|(_, fraction)| *fraction > 0.0).collect()
    }
}

impl FromStr for Fractions {
    type Err = DataError;

    /// Reads `train,validation,test`, for example `0.7,0.1,0.2` or `70,10,20` (percent).
    fn from_str(text: &str) -> Result<Self, DataError> {
        let parts: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        match parts.as_deref() {
            Some(&[train, validation, test]) if train + validation + test > 99.0 => {
                Fractions::new(train / 100.0, validation / 100.0, test / 100.0)
            }
            Some(&[train, validation, test]) => Fractions::new(train, validation, test),
            _ => Err(DataError::FractionsText { found: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_read_and_checked() {
        assert_eq!("0.7,0.1,0.2".parse::<Fractions>().unwrap(), "70, 10, 20".parse().unwrap());
        for wrong in ["0.7,0.3", "a,b,c", "0.7,0.1,0.3", "0,0.5,0.5", "1.2,-0.1,-0.1", "NaN,0.5,0.5", ""] {
            assert!(wrong.parse::<Fractions>().is_err(), "{wrong}");
        }
        assert_eq!(Fractions::new(0.8, 0.0, 0.2).unwrap().wanted().len(), 2);
    }
}
