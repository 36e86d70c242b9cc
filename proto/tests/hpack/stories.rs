//! The story corpora that `httlib-hpack` carries in its package: some 30 real header sequences, each as 14 encoders
//! have compressed it.
//!
//! The package's folder is where Cargo has put the dev-dependency's source, which `cargo metadata` tells.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

use serde_json::Value;
use sockeye_proto::hpack::{Decoder, Encoder};

use super::{NO_LIMITS, OwnedField, TABLE_SIZE, decode, decoder, encode, hex, without_sensitive};

const CORPORA: [&str; 14] = [
    "go-hpack",
    "haskell-http2-linear",
    "haskell-http2-linear-huffman",
    "haskell-http2-naive",
    "haskell-http2-naive-huffman",
    "haskell-http2-static",
    "haskell-http2-static-huffman",
    "nghttp2",
    "nghttp2-16384-4096",
    "nghttp2-change-table-size",
    "node-http2-hpack",
    "python-hpack",
    "swift-nio-hpack-huffman",
    "swift-nio-hpack-plain-text",
];

#[test]
fn every_story_decodes() {
    let fixtures = &fixtures();
    let stories: usize = thread::scope(|scope| {
        let threads = CORPORA.map(|corpus| scope.spawn(move || check_corpus(&fixtures.join(corpus))));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(stories, 446);
}

/// Decodes every story of a folder, and returns how many there are.
fn check_corpus(folder: &Path) -> usize {
    let paths = stories(folder);
    for path in &paths {
        let story = Story::read(path);
        let mut decoder = Decoder::new(story.max_table_size, NO_LIMITS);
        for (number, case) in story.cases.iter().enumerate() {
            let list = decode(&mut decoder, &case.block);
            assert!(list.as_ref() == Ok(&case.list), "{}, block {number}: {list:#?}", path.display());
        }
    }
    paths.len()
}

/// The fields of the stories are the same in each corpus, so one is enough for our own encoder.
#[test]
fn every_story_survives_our_own_encoder() {
    let (mut ours, mut theirs) = (0, 0);
    for path in stories(&fixtures().join("nghttp2")) {
        let (mut encoder, mut decoder) = (Encoder::new(TABLE_SIZE), decoder());
        for case in Story::read(&path).cases {
            let block = encode(&mut encoder, &case.list);
            let list = decode(&mut decoder, &block).map(without_sensitive);
            assert!(list == Ok(without_sensitive(case.list)), "{}: {list:#?}", path.display());
            ours += block.len();
            theirs += case.block.len();
        }
    }
    // What we choose not to index has to cost little.
    assert!(ours * 100 < theirs * 103, "{ours} octets; nghttp2 takes {theirs}");
}

/// The folder of all corpora.
fn fixtures() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = |arguments: &[&str]| {
        let output = Command::new(&cargo).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        let output = output.expect("cargo runs");
        assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("cargo speaks UTF-8")
    };
    let version = run(&["-vV"]);
    // Other platforms' dependencies need not have been downloaded.
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo tells its host");
    let metadata = run(&["metadata", "--format-version=1", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo metadata is JSON");
    let mut packages = metadata["packages"].as_array().expect("packages").iter();
    let package = packages.find(|package| package["name"] == "httlib-hpack").expect("httlib-hpack is a dev-dependency");
    let manifest = Path::new(package["manifest_path"].as_str().expect("manifest_path"));
    let folder = manifest.with_file_name("fixtures");
    assert!(folder.is_dir(), "{} is missing: httlib-hpack 0.1.3 ships the story corpora there", folder.display());
    folder
}

/// The files of one corpus.
fn stories(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files.map(|file| file.unwrap().path()).collect()
}

/// The header blocks of one connection.
struct Story {
    max_table_size: usize,
    cases: Vec<Case>,
}

struct Case {
    block: Vec<u8>,
    list: Vec<OwnedField>,
}

impl Story {
    fn read(path: &Path) -> Self {
        let story: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let cases = story["cases"].as_array().unwrap();
        let sizes = cases.iter().filter_map(|case| case["header_table_size"].as_u64());
        let max_table_size = sizes.max().map_or(TABLE_SIZE, |size| size as usize);
        Self { max_table_size, cases: cases.iter().map(Case::new).collect() }
    }
}

impl Case {
    fn new(case: &Value) -> Self {
        let fields = case["headers"].as_array().unwrap().iter().flat_map(|field| field.as_object().unwrap());
        Self {
            block: hex(case["wire"].as_str().unwrap()),
            list: fields.map(|(name, value)| OwnedField::new(name, value.as_str().unwrap())).collect(),
        }
    }
}
