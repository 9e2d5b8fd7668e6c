"""A mail server for tests: PORT FOLDER. Each message taken becomes FOLDER/NUMBER.eml, behind a line for each recipient.

What it answers to a message stands in FOLDER/answer and may be changed at any time: `250 taken` when it is not there.
Answers are counted in FOLDER/answered, one line each. A recipient who stands in FOLDER/unknown is refused. With the answer
`hang up` it takes the message and is gone before it has said so.
"""

import asyncio
import pathlib
import sys

from aiosmtpd.smtp import SMTP

PORT, FOLDER = int(sys.argv[1]), pathlib.Path(sys.argv[2])
FOLDER.mkdir(exist_ok=True)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        unknown = FOLDER / "unknown"
        if unknown.exists() and address in unknown.read_text().split():
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        answer = FOLDER / "answer"
        said = answer.read_text().strip() if answer.exists() else "250 taken"
        if said.startswith("250") or said == "hang up":
            number = len(list(FOLDER.glob("*.eml")))
            head = "".join(f"X-Recipient: {to}\r\n" for to in envelope.rcpt_tos)
            part = FOLDER / "part"
            part.write_bytes(head.encode() + envelope.original_content)
            part.rename(FOLDER / f"{number:04}.eml")
        with open(FOLDER / "answered", "a") as answered:
            answered.write(said + "\n")
        if said == "hang up":
            server.transport.abort()
        return said


async def serve():
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(Handler()), "127.0.0.1", PORT)
    await server.serve_forever()


asyncio.run(serve())
