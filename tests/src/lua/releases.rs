//! Where the released sources of Lua are on this machine: in the published crate `lua-src`, as cargo has unpacked it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

/// The folder that contains `lua-5.1.5` and the other releases. Asks cargo, without the network, and works from any folder
/// of this workspace.
pub(super) fn folder() -> anyhow::Result<PathBuf> {
    // Without the filter, cargo would require the crates of other platforms.
    let output = output(Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args([
        "metadata",
        "--format-version=1",
        "--offline",
        "--filter-platform",
        &host()?,
    ]))?;
    let metadata: Value = serde_json::from_slice(&output).context("reading the output of cargo metadata")?;
    let manifest = metadata["packages"]
        .as_array()
        .and_then(|packages| packages.iter().find(|package| package["name"] == "lua-src"))
        .and_then(|package| package["manifest_path"].as_str())
        .context("cargo metadata lists no package lua-src: run this in a folder of the workspace")?;
    let manifest = PathBuf::from(manifest);
    Ok(manifest.parent().context("a manifest is in a folder")?.to_path_buf())
}

/// This machine's platform as cargo names it: `x86_64-unknown-linux-gnu`.
fn host() -> anyhow::Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = String::from_utf8(output(Command::new(rustc).arg("-vV"))?)?;
    let host = output.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_string())
}

fn output(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {}", output.status, errors.trim());
    Ok(output.stdout)
}
