//! The mail server of the tests, a real one, and what it received.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::farm::{Farm, is_first_result};
use crate::process::free_port;

/// Configures a farm that does not run yet to send mail to a server, also for a list. Returns the server's port.
pub fn configure(farm: &Farm) -> u16 {
    let port = free_port();
    farm.configure(
        "[search]",
        &format!(
            "[mail]\nsmtp = \"smtp://127.0.0.1:{port}\"\nfrom = \"farm@example.org\"\n\
             list = [\"list@example.org\"]\n\n[search]"
        ),
    );
    port
}

/// Starts the server and waits until it answers. It ends with the farm.
pub fn start(farm: &mut Farm, port: u16) {
    let mut command = Command::new(python());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/servers/smtp.py")).arg(port.to_string());
    command.arg(farm.path("received"));
    farm.start_server("smtp", &mut command);
    farm.until("the mail server answers", |_| Ok(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()));
}

/// The mails that the server received, in order; without those about the first build of a project.
pub fn received(farm: &Farm) -> Vec<String> {
    let Ok(entries) = fs::read_dir(farm.path("received")) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    paths.sort();
    let mails = paths.iter().map(|path| fs::read_to_string(path).expect("a mail is text"));
    mails.filter(|mail| !is_first_result(mail)).collect()
}

/// The recipients of a mail's envelope.
pub fn envelope(mail: &str) -> Vec<&str> {
    mail.lines().filter_map(|line| line.strip_prefix("X-Recipient: ")).collect()
}

/// The Python of the server that `tests/setup-smtp.sh` installs in the target folder.
fn python() -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let installed = own.ancestors().map(|folder| folder.join("smtp/bin/python")).find(|path| path.exists());
    installed.expect("the SMTP server is not installed; run tests/setup-smtp.sh")
}
