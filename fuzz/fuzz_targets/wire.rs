//! What comes in by a socket: a frame or message that can be read is written as it was, and read as the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{FromMaster, FromWorker, Join, LogFrame, MAX_LOG_BYTES, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn reads_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(text: &str) {
    if let Ok(message) = decode::<T>(text) {
        assert_eq!(decode::<T>(&encode(&message)), Ok(message));
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = LogFrame::from_bytes(bytes) {
        assert!(!frame.bytes.is_empty() && frame.bytes.len() <= MAX_LOG_BYTES);
        assert_eq!(frame.to_bytes(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        reads_back::<FromWorker>(text);
        reads_back::<FromMaster>(text);
        reads_back::<Join>(text);
    }
});
