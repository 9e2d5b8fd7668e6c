"""A mail server for tests. Arguments: PORT FOLDER.

Each accepted message becomes FOLDER/NUMBER.eml, with an X-Recipient header for each recipient before it.

FOLDER/answer holds the answer to a message, and may change at any time; without it, the answer is `250 taken`. Each answer is
appended to FOLDER/answered as one line. A recipient that is listed in FOLDER/unknown is refused. With the answer `hang up`
the server accepts the message, and closes the connection before it has answered.
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
            return "550 unknown recipient"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        answer = FOLDER / "answer"
        reply = answer.read_text().strip() if answer.exists() else "250 taken"
        if reply.startswith("250") or reply == "hang up":
            number = len(list(FOLDER.glob("*.eml")))
            head = "".join(f"X-Recipient: {to}\r\n" for to in envelope.rcpt_tos)
            part = FOLDER / "part"
            part.write_bytes(head.encode() + envelope.original_content)
            part.rename(FOLDER / f"{number:04}.eml")
        with open(FOLDER / "answered", "a") as answered:
            answered.write(reply + "\n")
        if reply == "hang up":
            server.transport.abort()
        return reply


async def serve():
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(Handler()), "127.0.0.1", PORT)
    await server.serve_forever()


asyncio.run(serve())
