//! The operator's program.

fn main() -> std::process::ExitCode {
    master::run()
}
