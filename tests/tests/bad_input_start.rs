//! A master that cannot start explains why in one line and has its own exit code; and who may poke it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use store::Store;
use trunkfarm_tests::farm::Farm;

const FAILURE: i32 = 1;
const PORT: i32 = 3;
const DATA: i32 = 4;
const NEWER: i32 = 5;

/// The only line that it printed.
fn line(output: &Output, code: i32) -> String {
    let said = String::from_utf8(output.stderr.clone()).expect("it says text");
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    assert_eq!(output.status.code(), Some(code), "{said}");
    said.trim_end().to_string()
}

#[test]
fn a_port_in_use_is_named() {
    let farm = Farm::create();
    let _other = TcpListener::bind(("127.0.0.1", farm.port)).unwrap();
    let said = line(&farm.run_master_command(&["serve", "farm.toml"]), PORT);
    let begins = format!("farm-master: 127.0.0.1:{}: cannot listen here: ", farm.port);
    assert!(said.starts_with(&begins) && said.ends_with("or change `listen` in farm.toml"), "{said}");
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    let farm = Farm::create();
    // The tests may run as root, who can write everywhere except below a file.
    farm.write("file", "");
    farm.replace_in("farm.toml", "\"data\"", "\"file/data\"");
    let said = line(&farm.run_master_command(&["serve", "farm.toml"]), DATA);
    let folder = farm.path("file/data").display().to_string();
    assert!(said.contains(&format!("{folder}: cannot be written: ")), "{said}");
    assert!(said.ends_with("; give the farm's user this folder"), "{said}");
}

#[test]
fn a_file_that_is_not_a_database_is_named() {
    let farm = Farm::create();
    farm.write("data/farm.db", &"this is no database. ".repeat(1000));
    let said = line(&farm.run_master_command(&["serve", "farm.toml"]), DATA);
    assert!(said.contains("farm.db: ") && said.contains("not a database"), "{said}");
}

#[test]
fn a_database_newer_than_the_program_is_not_touched() {
    let mut farm = Farm::create();
    farm.serve().stop_master();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Store::open(&farm.path("data")).await.unwrap();
        store.pretend_schema(99_990_101_000_000).await.unwrap();
        store.close().await;
    });
    for command in [&["serve", "farm.toml"][..], &["worker", "list"]] {
        let said = line(&farm.run_master_command(command), NEWER);
        assert!(said.contains("farm.db: the database was made by a newer farm-master"), "{said}");
        assert!(said.contains("99990101000000"), "{said}");
    }
}

#[test]
fn only_the_farms_user_may_read_the_poke_token_and_it_does_not_change() {
    let mut farm = Farm::create();
    farm.serve();
    let path = farm.path("data/poke.token");
    let token = std::fs::read_to_string(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(token.trim().len(), 64, "{token}");
    farm.stop_master();
    farm.serve();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), token);
}

#[test]
fn a_poke_with_a_wrong_token_is_refused() {
    let mut farm = Farm::create();
    farm.serve();
    for token in ["", "wrong", "../poke.token"] {
        let poke = ureq::post(farm.url("/poke/lang")).header("authorization", format!("Bearer {token}"));
        match poke.send_empty() {
            Err(ureq::Error::StatusCode(status)) => assert_eq!(status, 401, "`{token}`"),
            other => panic!("`{token}`: {other:?}"),
        }
    }
    // Another user's farm.toml may name the same port, but not the same folder.
    let text = std::fs::read_to_string(farm.path("farm.toml")).unwrap();
    farm.write("stranger/farm.toml", &text);
    farm.write("stranger/data/poke.token", "wrong\n");
    let said = line(&farm.run_master_command(&["poke", "lang", "--farm", "stranger/farm.toml"]), FAILURE);
    assert!(
        said.contains("does not accept the token in") && said.contains("stranger/data/poke.token"),
        "{said}"
    );
}

#[test]
fn a_poke_of_an_unknown_trunk_names_it() {
    let mut farm = Farm::create();
    farm.serve();
    for trunk in ["nowhere", "../workers", "a b", "", "?"] {
        let said = line(&farm.run_master_command(&["poke", trunk]), FAILURE);
        assert_eq!(
            said,
            format!("farm-master: this farm has no trunk `{trunk}`; see the [[trunk]] tables of farm.toml")
        );
    }
}

#[test]
fn a_poke_of_a_master_that_does_not_run_is_reported() {
    let mut farm = Farm::create();
    let said = line(&farm.run_master_command(&["poke", "lang"]), FAILURE);
    assert!(said.contains("poke.token; start the master once, and run this as its user"), "{said}");
    farm.serve().stop_master();
    let said = line(&farm.run_master_command(&["poke", "lang"]), FAILURE);
    assert!(said.contains(&format!("calling the master at 127.0.0.1:{}", farm.port)), "{said}");
}
