//! Named, derivable seeds: every random draw of the crate starts from one.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

/// The generator behind every draw: ChaCha with 8 rounds, the same stream on every platform.
pub type Random = ChaCha8Rng;

/// A seed that can be divided by name; the same names give the same numbers everywhere.
///
/// ```
/// use defrost::support::seed::Seed;
/// let split = Seed::new(0).named("split");
/// assert_ne!(split, Seed::new(0).named("bootstrap"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// The seed of a number a user can type.
    pub fn new(number: u64) -> Self {
        Seed(Sha256::new().chain_update(b"defrost").chain_update(number.to_le_bytes()).finalize().into())
    }

    /// The seed of one use, for example `split` or `bootstrap/accuracy`.
    pub fn named(self, name: &str) -> Self {
        Seed(Sha256::new().chain_update(self.0).chain_update(name.as_bytes()).finalize().into())
    }

    /// The seed of one member of a family, for example a repeat.
    pub fn numbered(self, number: u64) -> Self {
        Seed(Sha256::new().chain_update(self.0).chain_update(number.to_le_bytes()).finalize().into())
    }

    /// The first 64 bits, for ordering things at random by their names.
    pub fn number(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// A generator that starts at this seed.
    pub fn random(self) -> Random {
        ChaCha8Rng::from_seed(self.0)
    }
}
