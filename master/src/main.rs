//! The operator's program.

fn main() -> std::process::ExitCode {
    trunkfarm_master::run()
}
