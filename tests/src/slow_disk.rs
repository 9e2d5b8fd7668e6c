//! A disk whose syncs of some logs are slow, or hang: a library (`disk/slow_sync.c`) that is preloaded into the master.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::farm::Farm;

pub struct SlowDisk {
    folder: PathBuf,
}

impl SlowDisk {
    /// Starts the master on such a disk. At first all syncs pass at once.
    pub fn serve(farm: &mut Farm) -> SlowDisk {
        let (library, source) =
            (farm.path("slow_sync.so"), concat!(env!("CARGO_MANIFEST_DIR"), "/disk/slow_sync.c"));
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
        assert!(built.expect("running cc").success());
        let folder = farm.path("slow-syncs");
        fs::create_dir_all(&folder).expect("making a folder");
        for (name, value) in [("LD_PRELOAD", &library), ("FARM_SLOW_SYNCS", &folder)] {
            farm.variable(name, value.to_str().expect("a path of ours"));
        }
        farm.serve();
        for name in ["LD_PRELOAD", "FARM_SLOW_SYNCS"] {
            farm.unset_variable(name);
        }
        SlowDisk { folder }
    }

    /// From now on a sync of the log of an attempt's first step hangs, until [`SlowDisk::let_go`].
    pub fn hang(&self, attempt: i64) {
        self.order(attempt, "");
    }

    /// From now on each sync of the log of an attempt's first step takes this long.
    pub fn slow_down(&self, attempt: i64, by: Duration) {
        self.order(attempt, &by.as_millis().to_string());
    }

    /// Puts the order in place whole: the library may read it at any time.
    fn order(&self, attempt: i64, text: &str) {
        let part = self.folder.join("part");
        fs::write(&part, text).expect("writing an order");
        fs::rename(part, self.path(attempt)).expect("putting an order in place");
    }

    /// Whether a sync of this attempt was delayed.
    pub fn has_begun(&self, attempt: i64) -> bool {
        self.path(attempt).with_extension("log.began").exists()
    }

    pub fn let_go(&self, attempt: i64) {
        fs::remove_file(self.path(attempt)).expect("the order is in place");
    }

    fn path(&self, attempt: i64) -> PathBuf {
        self.folder.join(format!("{attempt}.0.log"))
    }
}
