//! A bad link, made on purpose: carries bytes between workers and master until it is told to cut, to hold its breath,
//! or to say nothing while both ends believe that they are connected.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A connection that could not be made yet waits so long at the most.
const READ: Duration = Duration::from_millis(50);

pub struct Proxy {
    pub port: u16,
    link: Arc<Link>,
}

#[derive(Default)]
struct Link {
    mood: Mutex<Mood>,
    connections: AtomicUsize,
}

#[derive(Default)]
struct Mood {
    /// After how many more bytes from the worker the link is cut, again and again.
    cuts: std::collections::VecDeque<u64>,
    /// Connections up to this number stand, and nothing passes.
    mute_upto: usize,
    /// Connections up to this number are to end.
    cut_upto: usize,
    delay: Duration,
    closed: bool,
}

impl Proxy {
    /// To a port of loopback.
    pub fn to(master: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let link = Arc::new(Link::default());
        let carrier = Arc::clone(&link);
        std::thread::spawn(move || {
            for worker in listener.incoming() {
                if carrier.mood().closed {
                    return;
                }
                let number = carrier.connections.fetch_add(1, Ordering::SeqCst) + 1;
                // A master that is away refuses: then the worker is refused, too.
                let (Ok(worker), Ok(master)) = (worker, TcpStream::connect(("127.0.0.1", master))) else {
                    continue;
                };
                carrier.carry(number, worker, master);
            }
        });
        Proxy { port, link }
    }

    /// What a worker calls the farm.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many connections were dialled.
    pub fn connections(&self) -> usize {
        self.link.connections.load(Ordering::SeqCst)
    }

    /// Cuts whatever connection carries the byte that is reached, then counts anew for the next cut.
    pub fn cut_after(&self, bytes: impl IntoIterator<Item = u64>) {
        self.link.mood().cuts.extend(bytes);
    }

    pub fn cuts_left(&self) -> usize {
        self.link.mood().cuts.len()
    }

    /// Ends all connections that stand.
    pub fn cut(&self) {
        self.link.mood().cut_upto = self.connections();
    }

    /// Lets all connections that stand be half-open: both ends hear nothing more, and no end. New ones are well.
    pub fn fall_silent(&self) {
        self.link.mood().mute_upto = self.connections();
    }

    /// Holds each piece for so long.
    pub fn delay(&self, delay: Duration) {
        self.link.mood().delay = delay;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.mood().closed = true;
        self.cut();
        // The one who listens is woken to see it.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Link {
    fn mood(&self) -> std::sync::MutexGuard<'_, Mood> {
        self.mood.lock().expect("nobody panics while holding the link's mood")
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
        from.set_read_timeout(Some(READ)).expect("a socket has a timeout");
        let mut piece = [0; 4096];
        loop {
            let length = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
                Err(_) => break,
            };
            let (passes, cut, delay) = {
                let mut mood = self.mood();
                let mute = number <= mood.mute_upto;
                let mut passes = if mute { 0 } else { length };
                let mut cut = number <= mood.cut_upto;
                if let Some(left) = mood.cuts.front_mut().filter(|_| counts && !mute) {
                    passes = passes.min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= passes as u64;
                    if *left == 0 {
                        mood.cuts.pop_front();
                        cut = true;
                    }
                }
                (passes, cut, mood.delay)
            };
            if length > 0 && !delay.is_zero() {
                std::thread::sleep(delay);
            }
            if to.write_all(&piece[..passes]).is_err() || cut {
                break;
            }
        }
        // Without a word more in either direction, as when a cable is pulled and somebody resets.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
