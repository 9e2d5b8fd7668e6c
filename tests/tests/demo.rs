//! The main task on a real language: the demonstration finds everything that there is to find, and nothing else.

use std::process::Command;

use trunkfarm_tests::process::{free_port, program};

#[test]
fn the_demonstration_names_the_right_change_for_each_project() {
    let folder = tempfile::tempdir().expect("a folder for the farm");
    let output = Command::new(program("farm-demo"))
        .arg(folder.path().join("demo"))
        .arg(format!("127.0.0.1:{}", free_port()))
        .arg("once")
        .output()
        .expect("running the demonstration");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    let log = std::fs::read_to_string(folder.path().join("demo/master.log")).unwrap_or_default();
    let mails = std::fs::read_dir(folder.path().join("demo/data/mail/new")).expect("the demonstration mails");
    for mail in mails {
        let mail = std::fs::read_to_string(mail.expect("a mail").path()).expect("a mail is text");
        assert!(!mail.contains(" 0 runs"), "what is proven by others' probes counts these: {mail}");
    }
    assert!(output.status.success(), "{said}{}\n{log}", String::from_utf8_lossy(&output.stderr));
}
