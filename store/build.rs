//! Lays the migrations into a database in OUT_DIR, so that every query is checked against them from a clean clone.

use std::{env, fs, path::Path};

use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("cargo:rerun-if-changed=../migrations");
    let file = Path::new(&env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("checked.db");
    if file.exists() {
        fs::remove_file(&file).expect("removing the database of the last build");
    }
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let mut database = options.connect().await.expect("making the database that queries are checked against");
    let migrations =
        sqlx::migrate::Migrator::new(Path::new("../migrations")).await.expect("reading ../migrations");
    migrations.run(&mut database).await.expect("laying ../migrations");
    println!("cargo:rustc-env=DATABASE_URL=sqlite://{}", file.display());
}
