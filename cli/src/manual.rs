//! What shells and `man` want to know of the program, made from its own arguments.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap_complete::Shell;

use crate::out;

/// `sockeye completions`
#[derive(clap::Args)]
pub(crate) struct Completions {
    /// The shell that is to complete the program's arguments.
    shell: Shell,
}

/// `sockeye man`
#[derive(clap::Args)]
pub(crate) struct Man {
    /// The folder to write sockeye.1 and a page for each command to; it is made where there is none.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Completions {
    pub(crate) fn run(&self, mut program: clap::Command) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "sockeye", &mut script);
        out::print(&String::from_utf8(script)?)
    }
}

impl Man {
    pub(crate) fn run(&self, program: clap::Command) -> Result<()> {
        let what = || format!("cannot write to {}", self.folder.display());
        fs::create_dir_all(&self.folder).with_context(what)?;
        clap_mangen::generate_to(program, &self.folder).with_context(what)
    }
}
