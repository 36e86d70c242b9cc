//! What the program is asked for.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

pub const USAGE: &str = "\
usage: attacks [--quick] [--without-times] [--without-axum] [--scale N] [--output DIRECTORY]
               [--sockeye PROGRAM] [--axum PROGRAM] [--list] [NAME...]

Runs each row of the table against `sockeye serve` and an echo of axum, and writes docs/src/attacks.md and attacks.json. With
names (parts of a row's, or of its family's) it runs only these, and with --quick a short form of what takes no minutes;
both write to bench/target/attacks.
  --without-times   no rule about time: for machines that others use too
  --without-axum    only our server
  --scale N         honest traffic by the million is divided by N (10)
  --sockeye, --axum programs to attack, which are built otherwise
  --list            the rows";

#[derive(Debug)]
pub struct Options {
    pub quick: bool,
    pub without_times: bool,
    pub without_axum: bool,
    pub list: bool,
    pub scale: u64,
    pub output: Option<PathBuf>,
    /// Programs that are not to be built.
    pub sockeye: Option<PathBuf>,
    pub axum: Option<PathBuf>,
    pub names: Vec<String>,
}

impl Options {
    pub fn parse() -> Result<Self> {
        let mut options = Self {
            quick: false,
            without_times: false,
            without_axum: false,
            list: false,
            scale: 10,
            output: None,
            sockeye: None,
            axum: None,
            names: Vec::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| anyhow::anyhow!("{argument} needs a value"));
            match &argument[..] {
                "--quick" => options.quick = true,
                "--without-times" => options.without_times = true,
                "--without-axum" => options.without_axum = true,
                "--list" => options.list = true,
                "--scale" => options.scale = value()?.parse::<u64>()?.max(1),
                "--sockeye" => options.sockeye = Some(value()?.into()),
                "--axum" => options.axum = Some(value()?.into()),
                "--output" => options.output = Some(value()?.into()),
                option if option.starts_with('-') => bail!("{USAGE}"),
                _ => options.names.push(argument),
            }
        }
        if options.quick {
            options.scale = options.scale.max(100);
        }
        Ok(options)
    }

    pub fn wants(&self, family: &str, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| name.contains(&part[..]) || family == part)
    }

    /// Whether all rows are run, as for the page in the docs.
    pub fn is_whole(&self) -> bool {
        self.names.is_empty() && !self.quick
    }

    /// How long a flood goes on.
    pub fn time(&self) -> Duration {
        Duration::from_millis(if self.quick { 600 } else { 2000 })
    }

    /// How long bystanders are watched before.
    pub fn before(&self) -> Duration {
        Duration::from_millis(if self.quick { 200 } else { 700 })
    }

    /// The command, as a reader may repeat it, who has the programs built.
    pub fn command(&self) -> String {
        let mut arguments = std::env::args().skip(1);
        let mut words = String::from("just attacks");
        while let Some(argument) = arguments.next() {
            if matches!(&argument[..], "--sockeye" | "--axum") {
                arguments.next();
            } else {
                words = format!("{words} {argument}");
            }
        }
        words
    }
}
