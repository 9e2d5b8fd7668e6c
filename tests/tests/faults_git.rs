//! Remotes that hang or answer with errors: the status page shows it, and the rest of the farm goes on.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use trunkfarm_tests::farm::Farm;

/// Accepts connections and handles each with a function, until it is dropped; then its port is free again.
struct Server {
    port: u16,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn that(answers: fn(&mut TcpStream)) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut taken = Vec::new();
            while let Ok((mut stream, _)) = listener.accept() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                answers(&mut stream);
                taken.push(stream);
            }
        });
        Server { port, over, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn is_unavailable(stream: &mut TcpStream) {
    // The request does not matter, but it must be read, or the answer may be lost in a reset.
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream
        .write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

fn says_nothing(_: &mut TcpStream) {}

/// A farm with two trunks; the second is read from this URL.
fn farm(url: &str) -> Farm {
    let farm = Farm::create();
    let text = std::fs::read_to_string(farm.path("farm.toml")).unwrap();
    let (_, trunk) = text.split_once("[[trunk]]").unwrap();
    let trunk = trunk.replace("\"lang\"", "\"far\"").replace(&farm.path("trunk").display().to_string(), url);
    farm.write("farm.toml", &format!("{text}\n[[trunk]]{trunk}"));
    farm
}

fn trouble(farm: &Farm) -> anyhow::Result<String> {
    let status = farm.json("/status")?;
    let far = status["trunks"].as_array().into_iter().flatten().find(|line| line["trunk"] == "far");
    Ok(far.and_then(|line| line["problem"].as_str()).unwrap_or_default().to_string())
}

fn assert_the_rest_goes_on(farm: &mut Farm) {
    farm.worker("w1", 1);
    let change = farm.commit("Go on");
    assert_eq!(farm.finished_build(&change, "toolchain")["outcome"], "passed");
}

#[test]
fn a_remote_that_answers_5xx_is_named_with_its_answer() {
    let server = Server::that(is_unavailable);
    let mut farm = farm(&format!("http://127.0.0.1:{}/trunk", server.port));
    farm.serve();
    farm.until("the status says so", |farm| Ok(trouble(farm)?.contains("503")));
    assert_the_rest_goes_on(&mut farm);
}

/// The limit for an answer is half a minute.
#[test]
fn a_remote_that_hangs_is_abandoned_and_read_again_when_it_answers() {
    let server = Server::that(says_nothing);
    let port = server.port;
    let mut farm = farm(&format!("git://127.0.0.1:{port}/trunk"));
    farm.serve();
    assert_the_rest_goes_on(&mut farm);
    farm.until("the status says so", |farm| Ok(!trouble(farm)?.is_empty()));
    drop(server);
    farm.serve_git(port);
    farm.until("it is read", |farm| Ok(trouble(farm)?.is_empty() && !farm.rows("far", "master")?.is_empty()));
}
