//! One connection: dials, then carries messages both ways. It decides nothing, and ends when the [`Link`] is dropped.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use protocol::{FromMaster, MAX_MESSAGE_BYTES};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::tls::{self, TrustedAuthorities};

const DIAL_TIME: Duration = Duration::from_secs(20);
/// Frames that the session has sent and the socket has not taken yet. They have at most 64 KiB each, apart from rare
/// large events.
const FRAME_QUEUE: usize = 8;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Where the farm's WebSocket is, and who may prove to be it.
#[derive(Clone)]
pub struct Endpoint {
    pub url: String,
    pub authorities: TrustedAuthorities,
}

pub struct Link {
    pub events: mpsc::Receiver<LinkEvent>,
    pub out: mpsc::Sender<Message>,
    _ends_with_this: DropGuard,
}

pub enum LinkEvent {
    Opened,
    Message(Box<FromMaster>),
    /// A sign of life that is not a message.
    Alive,
    /// The last event of a link, with the reason.
    Disconnected(String),
}

impl Link {
    /// Dials after a pause.
    pub fn dial(endpoint: Endpoint, pause: Duration) -> Link {
        let (event_sender, events) = mpsc::channel(FRAME_QUEUE);
        let (out, to_send) = mpsc::channel(FRAME_QUEUE);
        let end = CancellationToken::new();
        let guard = end.clone().drop_guard();
        tokio::spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                why = carry(endpoint, pause, &event_sender, to_send) => {
                    // An owner that has dropped the link does not receive it.
                    let _ = event_sender.send(LinkEvent::Disconnected(why)).await;
                }
            }
        });
        Link { events, out, _ends_with_this: guard }
    }
}

async fn carry(
    endpoint: Endpoint,
    pause: Duration,
    events: &mpsc::Sender<LinkEvent>,
    to_send: mpsc::Receiver<Message>,
) -> String {
    tokio::time::sleep(pause).await;
    let socket = match dial(&endpoint).await {
        Ok(socket) => socket,
        Err(why) => return format!("cannot connect to {}: {why}", endpoint.url),
    };
    if events.send(LinkEvent::Opened).await.is_err() {
        return String::new();
    }
    let (sink, stream) = socket.split();
    // Concurrently, so that a full send buffer does not keep acks from being received.
    tokio::select! {
        why = read(stream, events) => why,
        why = write(sink, to_send) => why,
    }
}

async fn dial(endpoint: &Endpoint) -> Result<Socket, String> {
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(MAX_MESSAGE_BYTES);
    config.max_frame_size = Some(MAX_MESSAGE_BYTES);
    config.read_buffer_size = 16 << 10;
    config.max_write_buffer_size = 4 * MAX_MESSAGE_BYTES;
    let connector = Some(endpoint.authorities.connector());
    let dialing = connect_async_tls_with_config(&endpoint.url, Some(config), true, connector);
    match tokio::time::timeout(DIAL_TIME, dialing).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(e)) => Err(describe_failure(&e)),
        Err(_) => Err(format!("no answer within {} s", DIAL_TIME.as_secs())),
    }
}

/// Why there is no WebSocket, and how to mend it where that is known.
fn describe_failure(error: &tungstenite::Error) -> String {
    if let tungstenite::Error::Http(answer) = error {
        let status = answer.status();
        let meaning = match status.as_u16() {
            502..=504 => "the proxy in front of the farm does not reach it; the operator should look at both",
            401 | 403 | 407 => {
                "the proxy in front of the farm asks for a login, which a worker does not have"
            }
            404 => "there is no farm at this address, the `url` of worker.toml",
            _ => {
                "a proxy in between has taken the Upgrade header away; the operator's guide has the lines with which nginx and \
                 Caddy pass it on"
            }
        };
        return format!("the answer was HTTP {status}, not a WebSocket: {meaning}");
    }
    tls::advice(error).map_or_else(|| error.to_string(), |advice| format!("{error}; {advice}"))
}

async fn read(mut stream: SplitStream<Socket>, events: &mpsc::Sender<LinkEvent>) -> String {
    loop {
        let event = match stream.next().await {
            Some(Ok(Message::Text(text))) => match protocol::decode(&text) {
                Ok(message) => LinkEvent::Message(Box::new(message)),
                Err(e) => return format!("the master sent {e}"),
            },
            Some(Ok(Message::Binary(_))) => {
                return "the master sent a binary message, but only text messages are expected".into();
            }
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
        if events.send(event).await.is_err() {
            return String::new();
        }
    }
}

async fn write(mut sink: SplitSink<Socket, Message>, mut to_send: mpsc::Receiver<Message>) -> String {
    while let Some(message) = to_send.recv().await {
        let sent = match sink.feed(message).await {
            // What is already waiting goes into the same write.
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

    fn endpoint(url: &str) -> Endpoint {
        Endpoint { url: url.to_string(), authorities: TrustedAuthorities::load(None).unwrap() }
    }

    #[tokio::test]
    async fn a_secure_url_is_dialed_with_tls_and_nothing_is_sent_in_plain_text() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://{}/", listener.local_addr().unwrap());
        let mut link = Link::dial(endpoint(&url), Duration::ZERO);
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), HANDSHAKE);
        drop(stream);
        let Some(LinkEvent::Disconnected(why)) = link.events.recv().await else {
            panic!("the connection cannot have been opened")
        };
        assert!(why.starts_with("cannot connect to"), "{why}");
    }

    #[tokio::test]
    async fn the_url_of_an_unreachable_master_is_in_the_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        drop(listener);
        let mut link = Link::dial(endpoint(&url), Duration::ZERO);
        let Some(LinkEvent::Disconnected(why)) = link.events.recv().await else {
            panic!("nothing listens there")
        };
        assert!(why.starts_with(&format!("cannot connect to {url}: ")), "{why}");
        assert!(link.events.recv().await.is_none(), "that was the last event");
    }
}
