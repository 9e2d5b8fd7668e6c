//! How messages become bytes: JSON for control, a small header and raw bytes for logs.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest control message, in bytes of JSON.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// The most log that one frame carries, in bytes.
pub const MAX_LOG_BYTES: usize = 64 << 10;
const HEADER_BYTES: usize = 8 + 8 + 2;

/// A piece of a step's log, as it came out of the step: not necessarily whole lines, nor UTF-8.
///
/// On the wire, a binary frame: attempt (i64), sequence (u64), step (u16), each big-endian, then the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFrame {
    /// The attempt whose step printed it.
    pub attempt: i64,
    /// Counts the attempt's events and log frames together, from 1.
    pub sequence: u64,
    /// The step's index in the recipe, from 0.
    pub step: u16,
    /// 1 to [`MAX_LOG_BYTES`] bytes.
    pub bytes: Vec<u8>,
}

/// Why a frame of the socket is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// A binary frame is shorter than its header, or carries no log, or too much of it; in bytes.
    #[error(
        "a log frame of {0} bytes: expected {HEADER_BYTES} bytes of header and 1 to {MAX_LOG_BYTES} of log"
    )]
    Size(usize),
    /// A text frame is longer than [`MAX_MESSAGE_BYTES`]; in bytes.
    #[error("a message of {0} bytes: expected at most {MAX_MESSAGE_BYTES}")]
    TooLarge(usize),
    /// A text frame is not JSON of a known message.
    #[error("a message that cannot be read: {0}")]
    Unreadable(String),
}

impl LogFrame {
    /// The binary frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.bytes.len());
        out.extend(self.attempt.to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.step.to_be_bytes());
        out.extend(&self.bytes);
        out
    }

    /// Reads a binary frame; [`BadFrame::Size`] if it is not one.
    pub fn from_bytes(frame: &[u8]) -> Result<LogFrame, BadFrame> {
        let bad = || BadFrame::Size(frame.len());
        let (attempt, rest) = frame.split_first_chunk().ok_or_else(bad)?;
        let (sequence, rest) = rest.split_first_chunk().ok_or_else(bad)?;
        let (step, bytes) = rest.split_first_chunk().ok_or_else(bad)?;
        if bytes.is_empty() || bytes.len() > MAX_LOG_BYTES {
            return Err(bad());
        }
        Ok(LogFrame {
            attempt: i64::from_be_bytes(*attempt),
            sequence: u64::from_be_bytes(*sequence),
            step: u16::from_be_bytes(*step),
            bytes: bytes.to_vec(),
        })
    }
}

/// A message as JSON.
pub fn encode(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("our own messages have string keys and no failing serializer")
}

/// Reads a message. One that is longer than [`MAX_MESSAGE_BYTES`] is refused without a look at it.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, BadFrame> {
    if text.len() > MAX_MESSAGE_BYTES {
        return Err(BadFrame::TooLarge(text.len()));
    }
    serde_json::from_str(text).map_err(|e| BadFrame::Unreadable(e.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Event, FromMaster, FromWorker, StepEnd};

    proptest! {
        #[test]
        fn a_log_frame_round_trips(attempt: i64, sequence: u64, step: u16,
                                  bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            let frame = LogFrame { attempt, sequence, step, bytes };
            prop_assert_eq!(LogFrame::from_bytes(&frame.to_bytes()), Ok(frame));
        }

        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = LogFrame::from_bytes(&bytes);
            let _ = decode::<FromWorker>(&String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_types_refused() {
        let text = r#"{"type":"drain","reason":"r","colour":"red"}"#;
        assert_eq!(decode(text), Ok(FromMaster::Drain { reason: "r".into() }));
        assert!(decode::<FromMaster>(r#"{"type":"dance"}"#).is_err());
    }

    #[test]
    fn a_message_over_the_bound_is_refused_unread() {
        let text = " ".repeat(MAX_MESSAGE_BYTES + 1);
        assert_eq!(decode::<FromMaster>(&text), Err(BadFrame::TooLarge(text.len())));
    }

    #[test]
    fn the_wire_is_as_the_protocol_page_shows_it() {
        let event =
            Event::StepEnded { step: 0, end: StepEnd::Exit { code: 1 }, duration_ms: 5, warnings: vec![] };
        assert_eq!(
            encode(&FromWorker::Event { attempt: 7, sequence: 3, event }),
            r#"{"type":"event","attempt":7,"sequence":3,"event":{"type":"step-ended","step":0,"end":{"how":"exit","code":1},"duration_ms":5,"warnings":[]}}"#
        );
    }
}
