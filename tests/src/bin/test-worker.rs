//! The worker as a binary of this package: `cargo test` does not build the binaries of other packages.

fn main() -> std::process::ExitCode {
    worker::run()
}
