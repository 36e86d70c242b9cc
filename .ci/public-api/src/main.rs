//! `public-api-list FILE`: what the JSON of rustdoc says of a crate's public API, a line an item.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("public-api-list FILE: the JSON that rustdoc made of a crate");
        return ExitCode::FAILURE;
    };
    // What the compiler derives or finds out by itself would be most of the list, and changes with the compiler.
    let api = public_api::Builder::from_rustdoc_json(file)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build();
    match api {
        Ok(api) => {
            print!("{api}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
