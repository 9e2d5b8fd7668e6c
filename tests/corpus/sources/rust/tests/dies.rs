#[test]
fn a_passes() {}

#[test]
fn b_dies() {
    if std::env::var("DIE").is_ok() {
        std::process::abort();
    }
}

#[test]
fn c_comes_later() {}
