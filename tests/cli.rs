//! What livectl says on the command line, word by word: help, wrong usage, checks. `TRYCMD=overwrite` rewrites the
//! snapshots.
#![allow(missing_docs)]

#[test]
fn says() {
    trycmd::TestCases::new().default_bin_path(env!("CARGO_BIN_EXE_livectl")).case("tests/cli/*.trycmd");
}
