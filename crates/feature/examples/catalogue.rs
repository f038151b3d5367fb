//! Prints the page of all kinds and sets: `cargo run --example catalogue > crates/feature/FEATURES.md`.
#![allow(clippy::print_stdout, reason = "the page goes to standard output")]

fn main() {
    print!("{}", foretell_feature::catalogue());
}
