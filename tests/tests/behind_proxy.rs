//! A farm behind nginx, with TLS by a private authority, in the configuration of the operator's guide: what volunteers meet there.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use trunkfarm_tests::farm::Farm;
use trunkfarm_tests::process::program;

/// A farm that workers reach by `https` only, and the port of its proxy.
struct Proxied {
    farm: Farm,
    port: u16,
}

impl Proxied {
    fn start() -> Proxied {
        Proxied::start_with(|guide| guide)
    }

    /// With the guide's configuration changed.
    fn start_with(change: impl Fn(String) -> String) -> Proxied {
        let mut farm = Farm::create();
        farm.project("polite", "echo 1..1; echo 'ok 1 - greets'\n");
        farm.serve();
        issue_certificate(&farm);
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let configuration = change(configuration(&farm, port));
        farm.write("nginx.conf", &configuration);
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx.arg("-c").arg(farm.path("nginx.conf")).arg("-p").arg(farm.path(""));
        farm.start_server("nginx", &mut nginx);
        let mut proxied = Proxied { farm, port };
        proxied
            .farm
            .until("nginx listens", |_| Ok(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()));
        proxied
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    fn authority(&self) -> PathBuf {
        self.farm.path("authority.pem")
    }

    fn worker(&self) -> Command {
        let mut command = Command::new(program("test-worker"));
        command.arg("--folder").arg(self.farm.path("far"));
        command
    }

    fn join(&self, more: &[&str]) -> Output {
        self.worker()
            .args(["join", &self.url(), "--name", "far"])
            .args(more)
            .output()
            .expect("running farm-worker")
    }

    /// Joins with the farm's authority, is approved, and runs.
    fn join_and_run(&mut self) {
        let authority = self.authority();
        let joined = self.join(&["--ca", authority.to_str().expect("a temporary path is text")]);
        let said = String::from_utf8_lossy(&joined.stdout).into_owned();
        assert!(joined.status.success(), "{said}{}", String::from_utf8_lossy(&joined.stderr));
        let code =
            said.split_whitespace().skip_while(|word| *word != "code:").nth(1).expect("join prints its code");
        self.farm.approve(code, "maker");
        self.farm.run_worker("far");
    }
}

/// An authority of its own, and a certificate of `localhost` by it.
fn issue_certificate(farm: &Farm) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(farm.path(""))
            .output()
            .expect("running openssl");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    farm.write("names.cnf", "subjectAltName = DNS:localhost\nbasicConstraints = CA:FALSE\n");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -days 30 -subj /CN=authority -keyout authority.key -out authority.pem"
    ));
    openssl(&format!("req {key} -subj /CN=farm -keyout farm.key -out farm.csr"));
    openssl(
        "x509 -req -days 30 -in farm.csr -CA authority.pem -CAkey authority.key -extfile names.cnf -out farm.pem",
    );
}

/// The lines of the guide, with this test's names and files.
fn configuration(farm: &Farm, port: u16) -> String {
    let guide = include_str!("../../docs/operator.md");
    let lines = guide.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next());
    let master = farm.url("");
    let server = lines
        .expect("the guide has a configuration of nginx")
        .replace("listen 443", &format!("listen 127.0.0.1:{port}"))
        .replace("farm.example.org", "localhost")
        .replace("/etc/ssl/", &format!("{}/", farm.path("").display()))
        .replace("http://127.0.0.1:8010", master.trim_end_matches('/'));
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {kind};\n"))
        .concat();
    format!(
        "daemon off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n    access_log off;\n{temporary}{server}}}\n"
    )
}

#[test]
fn a_worker_builds_through_tls_by_a_private_authority() {
    let mut proxied = Proxied::start();
    proxied.join_and_run();
    let change = proxied.farm.commit("next");
    // The toolchain was uploaded, and the suite's results, too.
    assert_eq!(proxied.farm.finished_build(&change, "polite")["outcome"], "passed");
}

#[test]
fn a_second_worker_downloads_the_toolchain_through_tls() {
    let mut proxied = Proxied::start();
    proxied.join_and_run();
    let change = proxied.farm.commit("next");
    assert_eq!(proxied.farm.finished_build(&change, "polite")["outcome"], "passed");
    proxied.farm.kill_worker("far");
    fs::remove_dir_all(proxied.farm.path("far/toolchains")).expect("the worker keeps its toolchains there");
    proxied.farm.project("late", "echo 1..1; echo 'ok 1 - arrives'\n");
    proxied.farm.run_worker("far");
    assert_eq!(proxied.farm.finished_build(&change, "late")["outcome"], "passed");
}

#[test]
fn an_authority_that_the_machine_does_not_know_is_explained_and_one_in_ssl_cert_file_is_believed() {
    let proxied = Proxied::start();
    let refused = proxied.join(&[]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("does not know the authority that issued the farm's certificate"), "{said}");
    assert!(said.contains("join --ca FILE"), "{said}");
    let joined = proxied
        .worker()
        .args(["join", &proxied.url(), "--name", "far"])
        .env("SSL_CERT_FILE", proxied.authority())
        .output()
        .expect("running farm-worker");
    assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
}

#[test]
fn a_proxy_that_takes_the_upgrade_away_is_recognized() {
    let without = |guide: String| {
        guide.lines().filter(|line| !line.contains("pgrade")).map(|line| format!("{line}\n")).collect()
    };
    let mut proxied = Proxied::start_with(without);
    proxied.join_and_run();
    proxied.farm.until("the worker's log says so", |farm| {
        Ok(farm.worker_log("far").contains("a proxy in between has taken the Upgrade header away"))
    });
}

#[test]
fn a_proxy_that_does_not_reach_the_farm_is_recognized() {
    let mut proxied = Proxied::start();
    proxied.join_and_run();
    proxied.farm.stop_master();
    proxied.farm.until("the worker's log says so", |farm| {
        Ok(farm.worker_log("far").contains("the proxy in front of the farm does not reach it"))
    });
}
