//! What attackers can do to `sockeye serve`, in a table: `just attacks`. Beside it what honest traffic may do, and what hostile
//! servers can do to our client.
//!
//! Each row has a server of its own, with one worker on one processor; attackers and bystanders have the other. The rules for all
//! rows are in `rules`.

mod attack;
mod bystander;
mod families;
mod flood;
mod hostile;
mod measure;
mod options;
mod process;
mod report;
mod rules;
mod server;
mod sitting;
mod target;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::options::Options;
use crate::server::{Programs, build};
use crate::sitting::Sitting;

/// The processor of attackers and bystanders.
const CORE: usize = 1;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every row keeps every rule.
fn run() -> Result<bool> {
    let options = Options::parse()?;
    if options.list {
        sitting::list(&options);
        return Ok(true);
    }
    let bench = bench();
    let root = bench.parent().unwrap_or(bench);
    let programs = programs(&options, bench, root)?;
    // Cargo puts all programs of a package into one place.
    let victim = std::env::current_exe()?.with_file_name("attacks-victim");
    allow_files();
    // Built is on all processors, measured on two.
    let mut cores = CpuSet::new();
    cores.set(CORE);
    sched_setaffinity(None, &cores)?;
    let sitting = Sitting::run(&programs, &victim, &options);

    let directory = output(&options, bench, root);
    std::fs::create_dir_all(&directory)?;
    let page = report::render(&sitting, &options);
    std::fs::write(directory.join("attacks.md"), &page)?;
    std::fs::write(directory.join("attacks.json"), serde_json::to_string_pretty(&sitting)? + "\n")?;
    eprintln!("written to {}", directory.display());
    let (passed, failed) = sitting.verdict();
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// Those that were named, and the others built.
fn programs(options: &Options, bench: &Path, root: &Path) -> Result<Programs> {
    let sockeye = match &options.sockeye {
        Some(program) => program.clone(),
        None => build(root, "sockeye-cli", "sockeye")?,
    };
    let axum = match &options.axum {
        _ if options.without_axum => None,
        Some(program) => Some(program.clone()),
        None => Some(build(bench, "axum-echo", "axum-echo")?),
    };
    Ok(Programs { sockeye, axum })
}

/// The workspace of the benches.
fn bench() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

fn output(options: &Options, bench: &Path, root: &Path) -> PathBuf {
    match &options.output {
        Some(directory) => directory.clone(),
        None if options.is_whole() => root.join("docs/src"),
        None => bench.join("target").join("attacks"),
    }
}

/// A socket is an open file. What is started from here may have as many as the system lets anyone have.
fn allow_files() {
    let most = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
}
