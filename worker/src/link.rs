//! One connection: dials, then carries messages both ways. It decides nothing; it ends when its other end is dropped.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use protocol::{FromMaster, MAX_MESSAGE_BYTES};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use tokio_util::sync::{CancellationToken, DropGuard};

const DIAL: Duration = Duration::from_secs(20);
/// Frames taken from the session and not yet by the socket, of 64 KiB each at the most but for rare large events.
const WAITING: usize = 8;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub struct Link {
    pub heard: mpsc::Receiver<LinkEvent>,
    pub out: mpsc::Sender<Message>,
    _ends_with_this: DropGuard,
}

pub enum LinkEvent {
    Opened,
    Message(Box<FromMaster>),
    Alive,
    /// The last of them.
    Lost(String),
}

impl Link {
    /// Dials this URL after a pause.
    pub fn dial(url: String, pause: Duration) -> Link {
        let (hear, heard) = mpsc::channel(WAITING);
        let (out, to_send) = mpsc::channel(WAITING);
        let end = CancellationToken::new();
        let guard = end.clone().drop_guard();
        tokio::spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                why = carry(url, pause, &hear, to_send) => {
                    // Nobody hears it who has dropped the link.
                    let _ = hear.send(LinkEvent::Lost(why)).await;
                }
            }
        });
        Link { heard, out, _ends_with_this: guard }
    }
}

async fn carry(
    url: String,
    pause: Duration,
    hear: &mpsc::Sender<LinkEvent>,
    to_send: mpsc::Receiver<Message>,
) -> String {
    tokio::time::sleep(pause).await;
    let socket = match dial(&url).await {
        Ok(socket) => socket,
        Err(why) => return format!("{url} cannot be reached: {why}"),
    };
    if hear.send(LinkEvent::Opened).await.is_err() {
        return String::new();
    }
    let (sink, stream) = socket.split();
    // Side by side, so that a full send buffer keeps no ack from being heard.
    tokio::select! {
        why = read(stream, hear) => why,
        why = write(sink, to_send) => why,
    }
}

async fn dial(url: &str) -> Result<Socket, String> {
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(MAX_MESSAGE_BYTES);
    config.max_frame_size = Some(MAX_MESSAGE_BYTES);
    config.read_buffer_size = 16 << 10;
    config.max_write_buffer_size = 4 * MAX_MESSAGE_BYTES;
    match tokio::time::timeout(DIAL, connect_async_with_config(url, Some(config), true)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("no answer within {} s", DIAL.as_secs())),
    }
}

async fn read(mut stream: SplitStream<Socket>, hear: &mpsc::Sender<LinkEvent>) -> String {
    loop {
        let heard = match stream.next().await {
            Some(Ok(Message::Text(text))) => match protocol::decode(&text) {
                Ok(message) => LinkEvent::Message(Box::new(message)),
                Err(e) => return format!("the master sent {e}"),
            },
            Some(Ok(Message::Binary(_))) => return "the master sent bytes where words were expected".into(),
            Some(Ok(Message::Close(frame))) => {
                let reason = frame.map(|frame| frame.reason.to_string()).filter(|reason| !reason.is_empty());
                return reason.map_or("the master closed the connection".into(), |reason| {
                    format!("the master closed the connection: {reason}")
                });
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => LinkEvent::Alive,
            Some(Err(e)) => return format!("the connection broke: {e}"),
            None => return "the master closed the connection".into(),
        };
        if hear.send(heard).await.is_err() {
            return String::new();
        }
    }
}

async fn write(mut sink: SplitSink<Socket, Message>, mut to_send: mpsc::Receiver<Message>) -> String {
    while let Some(message) = to_send.recv().await {
        let sent = match sink.feed(message).await {
            // What waits already goes in the same write.
            Ok(()) if !to_send.is_empty() => Ok(()),
            Ok(()) => sink.flush().await,
            Err(e) => Err(e),
        };
        if let Err(e) = sent {
            return format!("the connection broke: {e}");
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// The first byte of a TLS connection: a handshake record.
    const HANDSHAKE: u8 = 22;

    #[tokio::test]
    async fn a_secure_url_is_dialled_with_tls_and_nothing_is_said_in_the_open() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://{}/", listener.local_addr().unwrap());
        let mut link = Link::dial(url, Duration::ZERO);
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), HANDSHAKE);
        drop(stream);
        let Some(LinkEvent::Lost(why)) = link.heard.recv().await else {
            panic!("it cannot have been opened")
        };
        assert!(why.contains("cannot be reached"), "{why}");
    }

    #[tokio::test]
    async fn a_master_that_is_not_there_is_told_with_its_url() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        drop(listener);
        let mut link = Link::dial(url.clone(), Duration::ZERO);
        let Some(LinkEvent::Lost(why)) = link.heard.recv().await else { panic!("nobody is there") };
        assert!(why.starts_with(&format!("{url} cannot be reached: ")), "{why}");
        assert!(link.heard.recv().await.is_none(), "that was the last word");
    }
}
