"""A worker in another language, written by docs/protocol.md alone: URL FOLDER NAME. It has no sandbox.

It joins, waits to be approved, and builds one toolchain and one suite with it. In the middle of its first log it
closes its own connection once, and resumes where the master says. Then it exits with 0.
"""

import hashlib
import http.client
import io
import json
import os
import pathlib
import platform
import struct
import subprocess
import sys
import tarfile
import time
import urllib.parse

import ed25519
import websocket

URL, FOLDER, NAME = urllib.parse.urlparse(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
FACTS = {
    "os": platform.system().lower(),
    "arch": platform.machine(),
    "libc": "gnu",
    "distribution": "any1",
    "kernel": platform.release(),
    "cpus": 1,
    "memory_bytes": 1 << 30,
    "sandbox": "none",
}
PROPERTIES = ["language=python", "sandbox=none"]
BUILDS = 2
EPOCH = 315532800


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


def stored(data):
    """A zstd frame that holds its content uncompressed: no Python before 3.14 can compress with zstd."""
    blocks = [data[at : at + 65536] for at in range(0, len(data), 65536)] or [b""]
    frame = struct.pack("<IBQ", 0xFD2FB528, 0b1110_0000, len(data))
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        frame += struct.pack("<I", len(block) << 3 | last)[:3] + block
    return frame


class Worker:
    def __init__(self):
        key = FOLDER / "key"
        FOLDER.mkdir(parents=True, exist_ok=True)
        if not key.exists():
            key.write_bytes(os.urandom(32))
        self.secret = key.read_bytes()
        self.socket = None
        self.token = None
        # The events of each attempt, in order, and how many of them are sent and acknowledged.
        self.spool, self.sent, self.acknowledged = {}, {}, {}
        self.toolchains = {}
        self.break_off = True
        self.heartbeat, self.beat_at = 15.0, 0.0

    # The session.

    def join(self):
        request = {"protocol": 2, "key": ed25519.public(self.secret).hex(), "name": NAME, "facts": FACTS}
        headers = {"content-type": "application/json"}
        status, _, text = call("POST", "/worker/v1/join", json.dumps(request), **headers)
        assert status == 202, text
        print("code:", request["key"][:8], flush=True)

    def send(self, **message):
        self.socket.send(websocket.TEXT, json.dumps(message).encode())

    def receive(self, timeout=60.0):
        text = self.socket.receive(timeout)
        return json.loads(text) if text else {"type": "nothing"}

    def connect(self):
        """Connects again and again, until the master admits this worker."""
        while True:
            self.socket = websocket.WebSocket(URL.hostname, URL.port, "/worker/v1/session")
            challenge = self.receive()
            assert challenge["type"] == "challenge" and challenge["protocol"] == 2, challenge
            signed = b"trunkfarm session 1\n" + challenge["nonce"].encode()
            self.send(
                type="hello",
                protocol=2,
                version="conformance",
                key=ed25519.public(self.secret).hex(),
                signature=ed25519.sign(self.secret, signed).hex(),
                facts=FACTS,
                slots=1,
                held=[
                    {"attempt": attempt, "last_sequence": len(events)} for attempt, events in self.spool.items()
                ],
                artifacts=list(self.toolchains),
            )
            answer = self.receive()
            if answer["type"] == "welcome":
                break
            assert answer["type"] == "refused" and "not approved yet" in answer["reason"], answer
            time.sleep(0.2)
        self.token, self.heartbeat = answer["token"], answer["heartbeat_ms"] / 1000
        for held in answer["held"]:
            attempt, action = held["attempt"], held["action"]
            if "resend-after" in action:
                self.sent[attempt] = self.acknowledged[attempt] = action["resend-after"]
            else:
                del self.spool[attempt]

    def deliver(self, attempt, upto):
        """Sends an attempt's events, until those up to this one are acknowledged."""
        while True:
            try:
                events = self.spool[attempt]
                for sequence in range(self.sent[attempt] + 1, len(events) + 1):
                    self.socket.send(*events[sequence - 1])
                    self.sent[attempt] = sequence
                if self.acknowledged[attempt] >= upto:
                    return
                self.handle(self.receive(self.heartbeat))
            except (websocket.Closed, OSError):
                self.connect()

    def handle(self, message):
        if time.monotonic() > self.beat_at:
            self.beat_at = time.monotonic() + self.heartbeat
            self.send(type="heartbeat")
        if message["type"] == "ack" and message["attempt"] in self.spool:
            self.acknowledged[message["attempt"]] = message["sequence"]
        assert message["type"] not in ("cancel", "refused"), message

    def record(self, attempt, **event):
        sequence = len(self.spool[attempt]) + 1
        message = {"type": "event", "attempt": attempt, "sequence": sequence, "event": event}
        self.spool[attempt].append((websocket.TEXT, json.dumps(message).encode()))

    def record_log(self, attempt, step, piece):
        sequence = len(self.spool[attempt]) + 1
        self.spool[attempt].append((websocket.BINARY, struct.pack("!qQH", attempt, sequence, step) + piece))

    def upload(self, kind, name, data):
        path, bearer = f"/worker/v1/object/{kind}/{name}", {"authorization": f"Bearer {self.token}"}
        status, headers, _ = call("HEAD", path, **bearer)
        if status == 200:
            return
        have = int(headers.get("farm-have", 0))
        status, _, text = call("PUT", f"{path}?from={have}", data[have:], **bearer)
        assert status in (200, 201), text

    # A build.

    def build(self, attempt, plan):
        self.send(type="accept", attempt=attempt)
        self.spool[attempt], self.sent[attempt], self.acknowledged[attempt] = [], 0, 0
        folder = FOLDER / str(attempt)
        source, out, prefix = folder / "src", folder / "out", folder / "toolchain"
        out.mkdir(parents=True)
        prefix.mkdir(parents=True)
        git = ["git", "-c", "advice.detachedHead=false"]
        subprocess.run([*git, "clone", "-q", plan["source"]["git"], source], check=True)
        subprocess.run([*git, "checkout", "-q", plan["source"]["revision"]], cwd=source, check=True)
        subprocess.run(["rm", "-rf", source / ".git"], check=True)
        if plan["toolchain"]:
            with tarfile.open(fileobj=io.BytesIO(self.toolchains[plan["toolchain"]["sha256"]])) as packed:
                packed.extractall(prefix)
        environment = {
            **plan["recipe"]["env"],
            "PATH": f"{prefix}/bin:/usr/local/bin:/usr/bin:/bin",
            "FARM_PREFIX": str(prefix),
            "FARM_SOURCE": str(source),
            "FARM_OUT": str(out),
            "FARM_CPUS": "1",
        }
        hashed = "".join(each + "\n" for each in PROPERTIES)
        environment_event = {"sha256": sha256(hashed.encode()), "properties": PROPERTIES}
        self.record(attempt, type="started", environment=environment_event)
        cases = {}
        for number, step in enumerate(plan["recipe"]["steps"]):
            code, log = self.step(attempt, number, step, source, environment)
            cases["step:" + step["name"]] = "P" if code == 0 else "F"
            if step["report"] == "tap":
                cases.update(self.tap(log))
            if code != 0 and step["kind"] != "test":
                break
        self.finish(attempt, plan, cases, prefix)

    def step(self, attempt, number, step, source, environment):
        self.record(attempt, type="step-started", step=number, name=step["name"])
        begun = time.monotonic()
        done = subprocess.run(
            ["/bin/sh", "-c", step["run"]],
            cwd=source,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        # Small pieces, so that the connection is closed in the middle of them.
        for at in range(0, len(done.stdout), 7):
            self.record_log(attempt, number, done.stdout[at : at + 7])
        if done.stdout and self.break_off:
            self.break_off = False
            self.deliver(attempt, len(self.spool[attempt]) // 2)
            self.socket.close()
            print("broken off", flush=True)
        duration_ms = int((time.monotonic() - begun) * 1000)
        end = {"how": "exit", "code": done.returncode}
        self.record(attempt, type="step-ended", step=number, end=end, duration_ms=duration_ms)
        self.deliver(attempt, len(self.spool[attempt]))
        return done.returncode, done.stdout.decode(errors="replace")

    def tap(self, log):
        cases = {}
        for line in log.splitlines():
            passed = line.startswith("ok ")
            if passed or line.startswith("not ok "):
                cases[line.partition(" - ")[2].strip()] = "P" if passed else "F"
        return cases

    def finish(self, attempt, plan, cases, prefix):
        results = artifact = None
        if plan["toolchain"]:
            names = sorted(cases, key=str.encode)
            text = "".join(name + "\n" for name in names).encode()
            self.upload("cases", sha256(text), stored(text))
            contents = {"cases": sha256(text), "verdicts": "".join(cases[name] for name in names)}
            contents |= {"complete": True, "repeats": {}, "failure_messages": []}
            packed = stored(json.dumps(contents).encode())
            results = sha256(packed)
            self.upload("results", results, packed)
        else:
            tar = self.pack(prefix)
            packed = stored(tar)
            artifact = {"sha256": sha256(packed), "bytes": len(packed)}
            self.toolchains[artifact["sha256"]] = tar
            self.upload("artifact", artifact["sha256"], packed)
        self.record(attempt, type="finished", results=results, artifact=artifact, infra_failure=None)
        self.deliver(attempt, len(self.spool[attempt]))
        del self.spool[attempt]

    def pack(self, prefix):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as packed:
            for path in sorted(prefix.rglob("*"), key=lambda path: os.fsencode(path.relative_to(prefix))):
                entry = packed.gettarinfo(path, str(path.relative_to(prefix)))
                entry.uid = entry.gid = 0
                entry.uname = entry.gname = ""
                entry.mtime = EPOCH
                entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
                packed.addfile(entry, path.open("rb") if entry.isfile() else None)
        return file.getvalue()

    def run(self):
        self.join()
        self.connect()
        built = 0
        while built < BUILDS:
            message = self.receive(self.heartbeat)
            if message["type"] == "offer":
                self.build(message["attempt"], message["plan"])
                built += 1
            else:
                self.handle(message)
        print("done", flush=True)


Worker().run()
