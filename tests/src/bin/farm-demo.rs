fn main() -> anyhow::Result<()> {
    let folder = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    std::fs::create_dir_all(&folder)?;
    let demo = farm_tests::lua::lay(&folder, "127.0.0.1:8010")?;
    println!("{:?}", demo.farm_toml);
    Ok(())
}
