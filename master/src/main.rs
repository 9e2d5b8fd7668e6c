//! The program `farm-master`.

fn main() -> std::process::ExitCode {
    trunkfarm_master::run()
}
