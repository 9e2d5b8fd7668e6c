//! One change's journey, from commit to mail.

use farm_tests::farm::Farm;

/// A suite of two cases: one asks `lang` for a greeting, the other always passes.
const GREETING: &str = "echo 1..2\n[ \"$(greet)\" = hello ] && echo 'ok 1 - greets' || echo 'not ok 1 - greets'\necho 'ok 2 - is there'\n";

fn lang(greeting: &str) -> String {
    format!("#!/bin/sh\ngreet() {{ echo {greeting}; }}\n. \"$1\"\n")
}

#[test]
fn a_change_that_breaks_a_project_is_named_and_one_mail_says_so_and_one_reply_when_it_is_fixed() {
    let mut farm = Farm::lay();
    farm.edit("lang", &lang("hello"));
    farm.commit("greet");
    farm.project("polite", GREETING);
    // History begins at the base, where there is no greeting yet.
    farm.serve().worker("w1", 2);
    farm.until("the first builds are done", |farm| Ok(farm.get("/waterfall")?.contains("polite")));
    println!("{}", farm.get("/api/v1/status").unwrap());
    println!("{}", farm.get("/api/v1/waterfall").unwrap());
    println!("{}", farm.get("/api/v1/breakages").unwrap());
    println!("{}", farm.get("/api/v1/queue").unwrap());
    println!("{}", farm.get("/api/v1/workers").unwrap());
}
