//! Fuzz targets for the properties of `sockeye-proto`, which its tests share: see `README.md`.

#![forbid(unsafe_code)]

#[path = "../../proto/tests/properties/mod.rs"]
mod properties;

use properties::choices::Choices;
use properties::{PROPERTIES, named};

/// Checks a property with the fuzzer's octets.
///
/// # Panics
///
/// Where it does not hold.
pub fn check(name: &str, octets: &[u8]) {
    (named(name).check)(&mut Choices::octets(octets));
}

/// The names of all properties, and how many times as long as the cheapest each of them takes.
pub fn properties() -> impl Iterator<Item = (&'static str, u64)> {
    PROPERTIES.iter().map(|property| (property.name, property.cost))
}

/// An input for the fuzzer to begin with: what a test makes of this seed.
///
/// # Panics
///
/// Where the property does not hold for it.
pub fn input(name: &str, seed: u64) -> Vec<u8> {
    let mut choices = Choices::seeded(seed);
    (named(name).check)(&mut choices);
    match choices {
        Choices::Seeded { octets, .. } => octets,
        Choices::Octets { rest, .. } => rest.to_vec(),
    }
}
