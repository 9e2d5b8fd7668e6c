"""A worker in another language, written by docs/protocol.md alone: URL FOLDER NAME. It has no sandbox.

It joins, waits to be let in, and builds one toolchain and one suite with it. In the middle of its first log it breaks
off its own connection once, and goes on where the master says. Then it ends, and exits 0.
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
WORDS = ["language=python", "sandbox=none"]
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
    """A zstd frame that holds its content as it is: no Python before 3.14 can compress it."""
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
        # Of each attempt: what it has to say, in order, and how much of that is sent and acknowledged.
        self.spool, self.sent, self.acknowledged = {}, {}, {}
        self.toolchains = {}
        self.break_off = True
        self.heartbeat, self.beat_at = 15.0, 0.0

    # The conversation.

    def join(self):
        wish = {"protocol": 1, "key": ed25519.public(self.secret).hex(), "name": NAME, "facts": FACTS}
        headers = {"content-type": "application/json"}
        status, _, text = call("POST", "/worker/v1/join", json.dumps(wish), **headers)
        assert status == 202, text
        print("code:", wish["key"][:8], flush=True)

    def say(self, **message):
        self.socket.send(websocket.TEXT, json.dumps(message).encode())

    def hear(self, patience=60.0):
        text = self.socket.receive(patience)
        return json.loads(text) if text else {"type": "nothing"}

    def connect(self):
        """Until the master lets it in."""
        while True:
            self.socket = websocket.WebSocket(URL.hostname, URL.port, "/worker/v1/session")
            challenge = self.hear()
            assert challenge["type"] == "challenge" and challenge["protocol"] == 1, challenge
            said = b"trunkfarm session 1\n" + challenge["nonce"].encode()
            self.say(
                type="hello",
                protocol=1,
                version="conformance",
                key=ed25519.public(self.secret).hex(),
                signature=ed25519.sign(self.secret, said).hex(),
                facts=FACTS,
                slots=1,
                held=[{"attempt": attempt, "written": len(said)} for attempt, said in self.spool.items()],
                artifacts=list(self.toolchains),
            )
            answer = self.hear()
            if answer["type"] == "welcome":
                break
            assert answer["type"] == "refused" and "not approved yet" in answer["reason"], answer
            time.sleep(0.2)
        self.token, self.heartbeat = answer["token"], answer["heartbeat_ms"] / 1000
        for held in answer["held"]:
            if "from" in held["then"]:
                self.sent[held["attempt"]] = self.acknowledged[held["attempt"]] = held["then"]["from"]
            else:
                del self.spool[held["attempt"]]

    def deliver(self, attempt, upto):
        """Sends what an attempt has to say, until so much of it is acknowledged."""
        while True:
            try:
                said = self.spool[attempt]
                for sequence in range(self.sent[attempt] + 1, len(said) + 1):
                    self.socket.send(*said[sequence - 1])
                    self.sent[attempt] = sequence
                if self.acknowledged[attempt] >= upto:
                    return
                self.take(self.hear(self.heartbeat))
            except (websocket.Closed, OSError):
                self.connect()

    def take(self, message):
        if time.monotonic() > self.beat_at:
            self.beat_at = time.monotonic() + self.heartbeat
            self.say(type="heartbeat")
        if message["type"] == "ack" and message["attempt"] in self.spool:
            self.acknowledged[message["attempt"]] = message["sequence"]
        assert message["type"] not in ("cancel", "refused"), message

    def tell(self, attempt, **event):
        sequence = len(self.spool[attempt]) + 1
        message = {"type": "event", "attempt": attempt, "sequence": sequence, "event": event}
        self.spool[attempt].append((websocket.TEXT, json.dumps(message).encode()))

    def tell_log(self, attempt, step, piece):
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
        self.say(type="accept", attempt=attempt)
        self.spool[attempt], self.sent[attempt], self.acknowledged[attempt] = [], 0, 0
        place = FOLDER / str(attempt)
        source, out, prefix = place / "src", place / "out", place / "toolchain"
        for folder in (out, prefix):
            folder.mkdir(parents=True)
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
        words = "".join(word + "\n" for word in WORDS)
        self.tell(attempt, type="started", environment={"sha256": sha256(words.encode()), "words": WORDS})
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
        self.tell(attempt, type="step-started", step=number, name=step["name"])
        begun = time.monotonic()
        done = subprocess.run(
            ["/bin/sh", "-c", step["run"]],
            cwd=source,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        # Small pieces, so that the break is in the middle of them.
        for at in range(0, len(done.stdout), 7):
            self.tell_log(attempt, number, done.stdout[at : at + 7])
        if done.stdout and self.break_off:
            self.break_off = False
            self.deliver(attempt, len(self.spool[attempt]) // 2)
            self.socket.close()
            print("broken off", flush=True)
        duration_ms = int((time.monotonic() - begun) * 1000)
        end = {"how": "exit", "code": done.returncode}
        self.tell(attempt, type="step-ended", step=number, end=end, duration_ms=duration_ms)
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
            told = {"cases": sha256(text), "verdicts": "".join(cases[name] for name in names)}
            told |= {"complete": True, "repeats": {}, "notes": []}
            packed = stored(json.dumps(told).encode())
            results = sha256(packed)
            self.upload("results", results, packed)
        else:
            tar = self.pack(prefix)
            packed = stored(tar)
            artifact = {"sha256": sha256(packed), "bytes": len(packed)}
            self.toolchains[artifact["sha256"]] = tar
            self.upload("artifact", artifact["sha256"], packed)
        self.tell(attempt, type="finished", results=results, artifact=artifact, infra_failure=None)
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
            message = self.hear(self.heartbeat)
            if message["type"] == "offer":
                self.build(message["attempt"], message["plan"])
                built += 1
            else:
                self.take(message)
        print("done", flush=True)


Worker().run()
