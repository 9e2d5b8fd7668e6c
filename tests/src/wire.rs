//! A worker's side of the wire, bare: it says what a test wants said, right or wrong, and hears what is answered.

use std::net::TcpStream;
use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use protocol::{
    Environment, Event, FromMaster, FromWorker, HeldAttempt, Join, LogFrame, Resume, Sha256, VERSION,
    WorkerFacts, path,
};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::farm::Farm;

/// How long an answer is waited for; a master that should have closed by then did not.
const PATIENCE: Duration = Duration::from_secs(60);

/// A worker that has a key and nothing else.
pub struct Stranger {
    key: SigningKey,
}

impl Stranger {
    /// The same number is the same key.
    pub fn number(number: u16) -> Stranger {
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

    /// Asks for a place; the operator has not answered yet.
    pub fn join(&self, farm: &Farm, name: &str) {
        let join = Join { protocol: VERSION, key: self.public(), name: name.to_string(), facts: facts() };
        let posted = ureq::post(farm.url(path::JOIN))
            .header("content-type", "application/json")
            .send(protocol::encode(&join));
        assert_eq!(posted.expect("a well-formed request is taken").status(), 202);
    }

    /// Asks for a place and gets it.
    pub fn join_and_be_approved(&self, farm: &Farm, name: &str) {
        self.join(farm, name);
        let output =
            farm.master_says(&["worker", "approve", &self.code(), "--owner", "Eve", "--trust", "maker"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The hello that answers this challenge, and is right in all things.
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
        }
    }

    /// Dials and says hello; with no slots, no build is ever offered to it.
    pub fn greet(&self, farm: &Farm, slots: u32) -> Wire {
        self.come_back(farm, slots, vec![]).0
    }

    /// Greets with what it holds still, and hears what is to become of that.
    pub fn come_back(&self, farm: &Farm, slots: u32, held: Vec<HeldAttempt>) -> (Wire, Vec<Resume>) {
        let (mut wire, nonce) = Wire::dial(farm);
        wire.say(&self.hello(&nonce, slots, held));
        match wire.hear() {
            Heard::Message(FromMaster::Welcome { token, held, .. }) => {
                wire.token = token;
                (wire, held)
            }
            other => panic!("expected a welcome, heard {other:?}"),
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
    /// Of the session, for HTTP calls; empty before the welcome.
    pub token: String,
}

#[derive(Debug, PartialEq)]
pub enum Heard {
    Message(FromMaster),
    /// The master has closed.
    Closed,
}

impl Wire {
    /// Dials, and takes the challenge's nonce.
    pub fn dial(farm: &Farm) -> (Wire, String) {
        let stream = TcpStream::connect(("127.0.0.1", farm.port)).expect("the master listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
        let url = format!("ws://127.0.0.1:{}{}", farm.port, path::SESSION);
        let (socket, _) = tungstenite::client(url, stream).expect("the master upgrades");
        let mut wire = Wire { socket, token: String::new() };
        match wire.hear() {
            Heard::Message(FromMaster::Challenge { nonce, .. }) => (wire, nonce),
            other => panic!("expected a challenge, heard {other:?}"),
        }
    }

    pub fn say(&mut self, message: &FromWorker) {
        self.say_text(&protocol::encode(message));
    }

    pub fn say_text(&mut self, text: &str) {
        self.send(Message::text(text));
    }

    pub fn say_bytes(&mut self, bytes: Vec<u8>) {
        self.send(Message::binary(bytes));
    }

    fn send(&mut self, message: Message) {
        // The master may close while a large message is still on its way; what it said then is heard.
        let _ = self.socket.send(message);
    }

    pub fn hear(&mut self) -> Heard {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    return Heard::Message(protocol::decode(&text).expect("the master speaks the protocol"));
                }
                Ok(Message::Close(_)) => return Heard::Closed,
                Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("the master said nothing for {PATIENCE:?}, and did not close");
                }
                Err(_) => return Heard::Closed,
            }
        }
    }

    /// Waits for a message that is wanted, past others.
    pub fn until<T>(&mut self, what: &str, wanted: impl Fn(FromMaster) -> Option<T>) -> T {
        loop {
            match self.hear() {
                Heard::Message(FromMaster::Refused { reason }) => panic!("refused before {what}: {reason}"),
                Heard::Message(message) => {
                    if let Some(found) = wanted(message) {
                        return found;
                    }
                }
                Heard::Closed => panic!("closed before {what}"),
            }
        }
    }

    /// Waits for an offer; the answer is its attempt.
    pub fn offered(&mut self) -> i64 {
        self.until("an offer", |message| match message {
            FromMaster::Offer { attempt, .. } => Some(attempt),
            _ => None,
        })
    }

    pub fn tell(&mut self, attempt: i64, sequence: u64, event: Event) {
        self.say(&FromWorker::Event { attempt, sequence, event });
    }

    /// The attempt is begun, in an environment of no words.
    pub fn tell_started(&mut self, attempt: i64) {
        let environment = Environment { sha256: Sha256([0; 32]), properties: vec![] };
        self.tell(attempt, 1, Event::Started { environment });
    }

    pub fn tell_log(&mut self, attempt: i64, sequence: u64, bytes: Vec<u8>) {
        self.say_bytes(LogFrame { attempt, sequence, step: 0, bytes }.to_bytes());
    }

    /// Waits until so much of an attempt is kept for good.
    pub fn acknowledged(&mut self, attempt: i64, upto: u64) {
        self.until("an acknowledgement", |message| match message {
            FromMaster::Ack { attempt: told, sequence } => {
                (told == attempt && sequence >= upto).then_some(())
            }
            _ => None,
        });
    }

    /// Waits to be told to stop an attempt; the answer is why.
    pub fn cancelled(&mut self, attempt: i64) -> String {
        self.until("to be told to stop", |message| match message {
            FromMaster::Cancel { attempt: told, reason } if told == attempt => Some(reason),
            _ => None,
        })
    }

    /// The reason with which the master closes; whatever it said before is passed over.
    pub fn refusal(mut self) -> String {
        loop {
            match self.hear() {
                Heard::Message(FromMaster::Refused { reason }) => {
                    assert_eq!(self.hear(), Heard::Closed, "a refusal is the last word");
                    return reason;
                }
                Heard::Message(_) => {}
                Heard::Closed => panic!("closed without a reason"),
            }
        }
    }
}
