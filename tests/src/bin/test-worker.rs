//! The worker's twin: `cargo test` builds no other package's binaries.

fn main() -> std::process::ExitCode {
    worker::run()
}
