//! A scripted worker on a real connection: it sends what a test wants, right or wrong, and receives the answers.

use std::net::TcpStream;
use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use protocol::{
    Environment, Event, FromMaster, FromWorker, HeldAttempt, Join, LogFrame, Resume, Sha256, VERSION,
    WorkerFacts, path,
};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::farm::Farm;

/// How long to wait for an answer, or for the master to close the connection.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A worker that has nothing but a key.
pub struct Stranger {
    key: SigningKey,
}

impl Stranger {
    /// The same number gives the same key.
    pub fn with_number(number: u16) -> Stranger {
        let mut secret = [0; 32];
        secret[..2].copy_from_slice(&number.to_be_bytes());
        Stranger { key: SigningKey::from_bytes(&secret) }
    }

    pub fn key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// 64 hexadecimal digits.
    pub fn public(&self) -> String {
        hex(&self.key())
    }

    /// What the operator approves.
    pub fn code(&self) -> String {
        self.public()[..8].to_string()
    }

    /// Asks to be admitted; the operator has not answered yet.
    pub fn join(&self, farm: &Farm, name: &str) {
        let join = Join { protocol: VERSION, key: self.public(), name: name.to_string(), facts: facts() };
        let posted = ureq::post(farm.url(path::JOIN))
            .header("content-type", "application/json")
            .send(protocol::encode(&join));
        assert_eq!(posted.expect("a well-formed request is accepted").status(), 202);
    }

    /// Asks to be admitted, and the operator approves.
    pub fn join_and_be_approved(&self, farm: &Farm, name: &str) {
        self.join(farm, name);
        let output = farm.run_master_command(&[
            "worker",
            "approve",
            &self.code(),
            "--owner",
            "Eve",
            "--trust",
            "maker",
        ]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A correct hello that answers this challenge.
    pub fn hello(&self, nonce: &str, slots: u32, held: Vec<HeldAttempt>) -> FromWorker {
        let signature = self.key.sign(format!("trunkfarm session 1\n{nonce}").as_bytes());
        FromWorker::Hello {
            protocol: VERSION,
            version: "0".to_string(),
            key: self.public(),
            signature: hex(&signature.to_bytes()),
            facts: facts(),
            slots,
            held,
            artifacts: vec![],
            terms: None,
        }
    }

    /// Dials and completes the handshake. Without slots, no build is ever offered to it.
    pub fn connect(&self, farm: &Farm, slots: u32) -> Wire {
        self.reconnect(farm, slots, vec![]).0
    }

    /// Completes the handshake with the attempts that it still holds. Returns what the master decides about them.
    pub fn reconnect(&self, farm: &Farm, slots: u32, held: Vec<HeldAttempt>) -> (Wire, Vec<Resume>) {
        let (mut wire, nonce) = Wire::dial(farm);
        wire.send(&self.hello(&nonce, slots, held));
        match wire.receive() {
            Received::Message(FromMaster::Welcome { token, held, .. }) => {
                wire.token = token;
                (wire, held)
            }
            other => panic!("expected a welcome, received {other:?}"),
        }
    }
}

fn facts() -> WorkerFacts {
    WorkerFacts {
        os: "linux".to_string(),
        arch: std::env::consts::ARCH.to_string(),
        libc: "gnu".to_string(),
        sandbox: "bubblewrap".to_string(),
        cpus: 1,
        ..WorkerFacts::default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One connection.
pub struct Wire {
    socket: WebSocket<TcpStream>,
    /// The session's token for HTTP; empty before the welcome.
    pub token: String,
}

#[derive(Debug, PartialEq)]
pub enum Received {
    Message(FromMaster),
    /// The master has closed the connection.
    Closed,
}

impl Wire {
    /// Dials. Returns the connection and the challenge's nonce.
    pub fn dial(farm: &Farm) -> (Wire, String) {
        let stream = TcpStream::connect(("127.0.0.1", farm.port)).expect("the master listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a socket has a timeout");
        let url = format!("ws://127.0.0.1:{}{}", farm.port, path::SESSION);
        let (socket, _) = tungstenite::client(url, stream).expect("the master upgrades");
        let mut wire = Wire { socket, token: String::new() };
        match wire.receive() {
            Received::Message(FromMaster::Challenge { nonce, .. }) => (wire, nonce),
            other => panic!("expected a challenge, received {other:?}"),
        }
    }

    pub fn send(&mut self, message: &FromWorker) {
        self.send_text(&protocol::encode(message));
    }

    pub fn send_text(&mut self, text: &str) {
        self.send_frame(Message::text(text));
    }

    pub fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.send_frame(Message::binary(bytes));
    }

    fn send_frame(&mut self, message: Message) {
        // The master may close the connection while a large message is still being sent; the test then reads the reason.
        let _ = self.socket.send(message);
    }

    pub fn receive(&mut self) -> Received {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    return Received::Message(
                        protocol::decode(&text).expect("the master speaks the protocol"),
                    );
                }
                Ok(Message::Close(_)) => return Received::Closed,
                Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("the master sent nothing for {TIMEOUT:?}, and did not close the connection");
                }
                Err(_) => return Received::Closed,
            }
        }
    }

    /// Waits for a certain message, and ignores others.
    pub fn until<T>(&mut self, what: &str, wanted: impl Fn(FromMaster) -> Option<T>) -> T {
        loop {
            match self.receive() {
                Received::Message(FromMaster::Refused { reason }) => {
                    panic!("refused before {what}: {reason}")
                }
                Received::Message(message) => {
                    if let Some(found) = wanted(message) {
                        return found;
                    }
                }
                Received::Closed => panic!("closed before {what}"),
            }
        }
    }

    /// Waits for an offer. Returns its attempt.
    pub fn offered(&mut self) -> i64 {
        self.until("an offer", |message| match message {
            FromMaster::Offer { attempt, .. } => Some(attempt),
            _ => None,
        })
    }

    pub fn send_event(&mut self, attempt: i64, sequence: u64, event: Event) {
        self.send(&FromWorker::Event { attempt, sequence, event });
    }

    /// Reports that the attempt has begun, in an empty environment.
    pub fn send_started(&mut self, attempt: i64) {
        let environment = Environment { sha256: Sha256([0; 32]), properties: vec![] };
        self.send_event(attempt, 1, Event::Started { environment });
    }

    pub fn send_log(&mut self, attempt: i64, sequence: u64, bytes: Vec<u8>) {
        self.send_bytes(LogFrame { attempt, sequence, step: 0, bytes }.to_bytes());
    }

    /// Waits until the master has acknowledged an attempt up to a sequence number.
    pub fn acknowledged(&mut self, attempt: i64, upto: u64) {
        self.until("an acknowledgement", |message| match message {
            FromMaster::Ack { attempt: acknowledged, sequence } => {
                (acknowledged == attempt && sequence >= upto).then_some(())
            }
            _ => None,
        });
    }

    /// Waits for the cancellation of an attempt. Returns the reason.
    pub fn cancelled(&mut self, attempt: i64) -> String {
        self.until("a cancellation", |message| match message {
            FromMaster::Cancel { attempt: cancelled, reason } if cancelled == attempt => Some(reason),
            _ => None,
        })
    }

    /// The reason why the master closes the connection; earlier messages are ignored.
    pub fn refusal(mut self) -> String {
        loop {
            match self.receive() {
                Received::Message(FromMaster::Refused { reason }) => {
                    assert_eq!(self.receive(), Received::Closed, "a refusal is the last message");
                    return reason;
                }
                Received::Message(_) => {}
                Received::Closed => panic!("closed without a reason"),
            }
        }
    }
}
