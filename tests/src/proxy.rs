//! A proxy that simulates a bad link: it carries bytes between workers and master until a test makes it cut connections,
//! delay them, or drop all bytes while both ends believe that they are connected.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A read waits this long at most, so that a cut takes effect also on an idle connection.
const READ_TIME: Duration = Duration::from_millis(50);

pub struct Proxy {
    pub port: u16,
    link: Arc<Link>,
}

#[derive(Default)]
struct Link {
    faults: Mutex<Faults>,
    connections: AtomicUsize,
}

#[derive(Default)]
struct Faults {
    /// After how many more bytes from the worker to cut the link; one number for each cut.
    cuts: std::collections::VecDeque<u64>,
    /// Connections up to this number stay open, but no bytes pass.
    mute_upto: usize,
    /// Connections up to this number are cut.
    cut_upto: usize,
    delay: Duration,
    closed: bool,
}

impl Proxy {
    /// A proxy to a port of the loopback interface.
    pub fn to(master: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let link = Arc::new(Link::default());
        let shared = Arc::clone(&link);
        std::thread::spawn(move || {
            for worker in listener.incoming() {
                if shared.faults().closed {
                    return;
                }
                let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
                // If the master is away, it refuses the connection, and so do we.
                let (Ok(worker), Ok(master)) = (worker, TcpStream::connect(("127.0.0.1", master))) else {
                    continue;
                };
                shared.carry(number, worker, master);
            }
        });
        Proxy { port, link }
    }

    /// The farm's URL for the worker.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many connections workers have dialed.
    pub fn connections(&self) -> usize {
        self.link.connections.load(Ordering::SeqCst)
    }

    /// Cuts the connection that carries the byte with this number, then counts again from zero for the next cut.
    pub fn cut_after(&self, bytes: impl IntoIterator<Item = u64>) {
        self.link.faults().cuts.extend(bytes);
    }

    pub fn cuts_left(&self) -> usize {
        self.link.faults().cuts.len()
    }

    /// Cuts all open connections.
    pub fn cut(&self) {
        self.link.faults().cut_upto = self.connections();
    }

    /// Makes all open connections half-open: both ends receive nothing more, not even the end. New connections work.
    pub fn go_silent(&self) {
        self.link.faults().mute_upto = self.connections();
    }

    /// Delays each piece.
    pub fn delay(&self, delay: Duration) {
        self.link.faults().delay = delay;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.faults().closed = true;
        self.cut();
        // Wakes the listening thread, so that it ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Link {
    fn faults(&self) -> std::sync::MutexGuard<'_, Faults> {
        self.faults.lock().expect("nobody panics while holding the link's faults")
    }

    fn carry(self: &Arc<Link>, number: usize, worker: TcpStream, master: TcpStream) {
        let pair = |socket: &TcpStream| socket.try_clone().expect("a socket can be cloned");
        for (from, to, counts) in
            [(pair(&worker), pair(&master), true), (pair(&master), pair(&worker), false)]
        {
            let link = Arc::clone(self);
            std::thread::spawn(move || link.pump(number, from, to, counts));
        }
    }

    fn pump(&self, number: usize, mut from: TcpStream, mut to: TcpStream, counts: bool) {
        from.set_read_timeout(Some(READ_TIME)).expect("a socket has a timeout");
        let mut piece = [0; 4096];
        loop {
            let length = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
                Err(_) => break,
            };
            let (passes, cut, delay) = {
                let mut faults = self.faults();
                let mute = number <= faults.mute_upto;
                let mut passes = if mute { 0 } else { length };
                let mut cut = number <= faults.cut_upto;
                if let Some(left) = faults.cuts.front_mut().filter(|_| counts && !mute) {
                    passes = passes.min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= passes as u64;
                    if *left == 0 {
                        faults.cuts.pop_front();
                        cut = true;
                    }
                }
                (passes, cut, faults.delay)
            };
            if length > 0 && !delay.is_zero() {
                std::thread::sleep(delay);
            }
            if to.write_all(&piece[..passes]).is_err() || cut {
                break;
            }
        }
        // Nothing more passes in either direction, as if the connection had been reset.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
