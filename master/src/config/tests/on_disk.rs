//! Tests that need real files.

use std::fs;

use super::*;

fn farm() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("projects")).unwrap();
    for (name, text) in
        [("farm.toml", FARM), ("projects/penlight.toml", PENLIGHT), ("projects/say.toml", SAY)]
    {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn loaded(dir: &tempfile::TempDir) -> String {
    match load(&dir.path().join("farm.toml")) {
        Ok(config) => format!("{} projects", config.projects.len()),
        Err(problems) => problems.to_string().replace(&format!("{}/", dir.path().display()), ""),
    }
}

#[test]
fn a_folder_is_read_completely_and_other_files_in_it_are_ignored() {
    let dir = farm();
    for other in ["projects/README.md", "projects/.penlight.toml", "projects/say.toml~"] {
        fs::write(dir.path().join(other), "not = = toml").unwrap();
    }
    assert_eq!(loaded(&dir), "2 projects");
    assert_eq!(load(&dir.path().join("farm.toml")).unwrap().data, dir.path().join("data"));
}

#[test]
fn a_farm_needs_no_projects() {
    let dir = farm();
    fs::remove_dir_all(dir.path().join("projects")).unwrap();
    assert_eq!(loaded(&dir), "0 projects");
    fs::write(dir.path().join("projects"), "").unwrap();
    assert_eq!(loaded(&dir), "projects: cannot be read: Not a directory (os error 20)");
}

#[test]
fn a_file_that_is_not_text_is_a_problem() {
    let dir = farm();
    let say = dir.path().join("projects/say.toml");
    fs::write(&say, b"[project]\nname = \"s\xffy\"\n").unwrap();
    assert_eq!(loaded(&dir), "projects/say.toml:2: not UTF-8; expected a text file in UTF-8");
    fs::write(&say, " ".repeat((1 << 20) + 1)).unwrap();
    assert_eq!(loaded(&dir), "projects/say.toml: cannot be read: it is larger than 1048576 bytes");
    fs::remove_file(&say).unwrap();
    fs::create_dir(&say).unwrap();
    assert_eq!(loaded(&dir), "projects/say.toml: cannot be read: it is not a regular file");
    fs::remove_file(dir.path().join("farm.toml")).unwrap();
    assert!(loaded(&dir).starts_with("farm.toml: cannot be read: No such file"), "{}", loaded(&dir));
}

#[test]
fn a_password_is_the_first_line_of_its_file() {
    let dir = farm();
    let file = dir.path().join("smtp.password");
    let config = load(&dir.path().join("farm.toml")).unwrap();
    let login = config.mail.unwrap().smtp.login.unwrap();
    assert!(login.password().is_err(), "no file");
    fs::write(&file, "\nsecret").unwrap();
    assert!(login.password().is_err(), "an empty line");
    fs::write(&file, "secret\r\n# the mail server's\n").unwrap();
    assert_eq!(login.password().unwrap(), "secret");
}
