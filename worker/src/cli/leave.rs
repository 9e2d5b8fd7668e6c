//! `leave` and `rekey`: the farm forgets this machine, or knows it by another key.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::failure::Failure;
use super::prepare::authorities_of;
use crate::config::WorkerConfig;
use crate::control::{Request, ask};
use crate::folder::Folder;
use crate::join::FarmClient;
use crate::key::Key;

/// A worker that was told to end needs a few seconds for that.
const END_TIME: Duration = Duration::from_secs(20);

/// First the farm, then this machine: where the farm cannot be reached, nothing is changed.
pub fn leave(folder: &Folder) -> Result<(), Failure> {
    let config = WorkerConfig::read(&folder.configuration())?;
    let key = Key::open(&folder.key())?;
    let authorities = authorities_of(&config)?;
    FarmClient::new(&config.url, &authorities).leave(&key).context("nothing was changed")?;
    if ask(&folder.control(), Request::Stop)?.is_some() {
        let deadline = Instant::now() + END_TIME;
        while folder.is_locked() {
            if Instant::now() > deadline {
                return Err(Failure::Failed(anyhow!(
                    "the farm has forgotten this machine, but the worker in {} does not end; end it by hand",
                    folder.root().display()
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    for path in [folder.key(), folder.next_key(), folder.configuration(), folder.pause()] {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::Failed(anyhow!(
                    "the farm has forgotten this machine, but {} is left: {e}",
                    path.display()
                )));
            }
            Ok(()) | Err(_) => {}
        }
    }
    println!(
        "{} has forgotten {}. Its key and worker.toml are removed; {} still holds sources and caches, which you may delete.",
        config.url,
        config.name,
        folder.root().display()
    );
    Ok(())
}

pub fn rekey(folder: &Folder) -> Result<(), Failure> {
    let config = WorkerConfig::read(&folder.configuration())?;
    let key = Key::open(&folder.key())?;
    let has_asked = folder.next_key().exists();
    let next = Key::open_or_create(&folder.next_key())?;
    let authorities = authorities_of(&config)?;
    if let Err(e) = FarmClient::new(&config.url, &authorities).rekey(&key, &next) {
        if !has_asked {
            let _ = std::fs::remove_file(folder.next_key());
        }
        return Err(Failure::Failed(e));
    }
    if has_asked {
        println!("This worker has asked for a new key before, so that one was asked for again.");
    }
    let code = next.code();
    println!(
        "code: {code}\nSend this code to the farm's operator, who approves the new key with:\n\n    farm-master worker approve {code}\n\n\
         Until then the old key is valid. The worker takes the new one by itself; you need not start it again."
    );
    ask(&folder.control(), Request::Look)?;
    Ok(())
}
