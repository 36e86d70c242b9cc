//! Writes inputs for fuzzers to begin with: some for each property, into a folder of its name.

use std::path::PathBuf;
use std::{env, fs, io};

/// Longer ones are cut by libFuzzer.
const MAX_LENGTH: usize = 4096;

fn main() -> io::Result<()> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().unwrap_or_else(|| "target/corpus".into());
    for (name, cost) in sockeye_fuzz::properties() {
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        for seed in 0..(400 / cost).clamp(8, 200) {
            let mut input = sockeye_fuzz::input(name, seed);
            input.truncate(MAX_LENGTH);
            fs::write(folder.join(format!("seed-{seed}")), input)?;
        }
    }
    Ok(())
}
