//! `farm-worker`: everything is in the library, so that other packages can start it, too.

fn main() -> std::process::ExitCode {
    trunkfarm_worker::run()
}
