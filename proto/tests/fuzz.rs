//! What holds for any input (`properties`) holds for those that fuzzing has found, and for random ones: the same each time.
//!
//! `fuzz/corpus` has a folder of inputs for each property, and `fuzz/` looks for more. SOCKEYE_FUZZ_ITERATIONS says how many seeds
//! are tried of the cheapest property; of others fewer.

mod properties;

use std::path::{Path, PathBuf};
use std::{fs, thread};

use properties::choices::Choices;
use properties::{PROPERTIES, named};

/// Names an input when its property does not hold.
struct Input(String);

impl Drop for Input {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the property does not hold for {}", self.0);
        }
    }
}

fn hold(name: &str) {
    let property = named(name);
    for path in files(&corpora().join(name)) {
        let octets = fs::read(&path).expect("a file of the corpus");
        let _input = Input(format!("the input {}", path.display()));
        (property.check)(&mut Choices::octets(&octets));
    }
    for seed in 0..iterations() / property.cost {
        let _input = Input(format!("seed {seed}"));
        (property.check)(&mut Choices::seeded(seed));
    }
}

fn iterations() -> u64 {
    std::env::var("SOCKEYE_FUZZ_ITERATIONS").map_or(5_000, |count| count.parse().expect("a number"))
}

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Each property has a fuzz target and a corpus, and there are no others.
#[test]
fn each_property_has_a_target_and_a_corpus() {
    let names: Vec<_> = PROPERTIES.iter().map(|property| property.name.to_owned()).collect();
    let stem = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let stems = |folder: PathBuf| files(&folder).into_iter().map(stem).collect::<Vec<_>>();
    assert_eq!(stems(corpora()), names);
    assert_eq!(stems(corpora().join("../targets")), names);
    for name in names {
        assert!(!files(&corpora().join(&name)).is_empty(), "the corpus of {name} is empty");
    }
}

#[test]
fn h1_exchange() {
    hold("h1_exchange");
}

#[test]
fn h1_head() {
    hold("h1_head");
}

#[test]
fn h1_pair() {
    hold("h1_pair");
}

#[test]
fn h2_client() {
    hold("h2_client");
}

#[test]
fn h2_pair() {
    hold("h2_pair");
}

#[test]
fn h2_server() {
    hold("h2_server");
}

#[test]
fn handshake() {
    hold("handshake");
}

#[test]
fn hpack_decode() {
    hold("hpack_decode");
}

#[test]
fn hpack_round_trip() {
    hold("hpack_round_trip");
}

#[test]
fn inflate() {
    hold("inflate");
}

#[test]
fn target() {
    hold("target");
}

#[test]
fn ws_client() {
    hold("ws_client");
}

#[test]
fn ws_pair() {
    hold("ws_pair");
}

#[test]
fn ws_server() {
    hold("ws_server");
}
