//! What both the handshake and the session do with a worker's socket: send a message, and close it with a reason.

use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use protocol::{FromMaster, MAX_MESSAGE_BYTES};

/// What axum refuses before it is read. A message up to this size is refused with a reason: it is too large.
pub const MAX_FRAME_BYTES: usize = 2 * MAX_MESSAGE_BYTES;
/// More builds at once than any machine can run.
pub const MAX_SLOTS: u32 = 256;
/// How long the worker has to read the close reason.
const CLOSING: Duration = Duration::from_secs(2);

/// Sends a message. Fails if the worker reads nothing for `patience`: such a worker must not keep its session, and the
/// builds that are offered to it.
pub async fn send(socket: &mut WebSocket, message: &FromMaster, patience: Duration) -> Result<()> {
    let sent =
        tokio::time::timeout(patience, socket.send(Message::Text(protocol::encode(message).into()))).await;
    sent.ok()
        .with_context(|| format!("the worker read nothing for {} s", patience.as_secs()))?
        .context("sending a message")
}

/// Tells the worker why it is refused, and closes.
pub async fn refuse(socket: &mut WebSocket, reason: &str) {
    let reason: String = reason.chars().take(1000).collect();
    close(socket, Some(&FromMaster::Refused { reason }), "").await;
}

/// Sends a last message, and closes with a reason.
pub async fn close(socket: &mut WebSocket, message: Option<&FromMaster>, reason: &str) {
    // A close frame carries at most 123 bytes.
    let end = (0..=reason.len().min(123)).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
    let close = CloseFrame { code: close_code::NORMAL, reason: reason[..end].into() };
    let closing = async {
        // The connection may be closed already, which is what is wanted.
        if let Some(message) = message {
            let _ = socket.send(Message::Text(protocol::encode(message).into())).await;
        }
        let _ = socket.send(Message::Close(Some(close))).await;
        // A socket that is closed with unread bytes is reset, and the reset may overtake the reason.
        while let Some(Ok(_)) = socket.recv().await {}
    };
    let _ = tokio::time::timeout(CLOSING, closing).await;
}
