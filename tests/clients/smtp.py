"""A mail server that judges: aiosmtpd with STARTTLS, with TLS from the first byte on, and with neither.

The first line of stdin is a JSON object: `cert` and `key` (PEM files), `user` and `password` (without
them it asks for no login), `plain_login` (it asks for one on the port without encryption too), `mute` (a stage at which it says
nothing more: `starttls`, `mail`, `data`, `done`), `drop` (a stage at which it hangs up). It tells its
ports in one line of JSON, then each message that it took in one more: `from`, `to`, `tls`, `user`,
`raw` (base64), and what Python's own parser makes of it: `mail`. It ends when stdin is closed.

Recipients are answered for by what stands before the `@`:
    refused    550, there is no such user
    later      450, each time; `later1` only the first time for each message
    full       552, no room in the mailbox
    crowded    452, too many recipients
    echo       550 with the password in its words
    gone       421, and it hangs up
Senders `unwanted` are refused (550). A message with the word X-Tollgate-Test-Spam in it is refused with
554, with X-Tollgate-Test-Huge with 552, with X-Tollgate-Test-Busy with 451.
"""

import asyncio
import base64
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import AuthResult, SMTP


def tell(value):
    print(json.dumps(value), flush=True)


def part(node):
    """A part of a message as plain values."""
    told = {"type": node.get_content_type(), "headers": {}}
    for name, value in node.items():
        told["headers"].setdefault(name.lower(), []).append(str(value))
    if node.is_multipart():
        told["parts"] = [part(child) for child in node.iter_parts()]
    elif node.get_content_maintype() == "text":
        told["text"] = node.get_content().replace("\r\n", "\n")
    else:
        told["bytes"] = base64.b64encode(node.get_content()).decode()
    told["disposition"] = node.get_content_disposition()
    told["defects"] = [str(defect) for defect in node.defects]
    return told


class Server(SMTP):
    """aiosmtpd, which falls silent or hangs up where it is told to."""

    async def push(self, status):
        stage = self.plan_stage(status)
        if stage and self.event_handler.plan.get("drop") == stage:
            self.transport.abort()
            return
        if stage and self.event_handler.plan.get("mute") == stage:
            await asyncio.Event().wait()
        await super().push(status)

    def plan_stage(self, status):
        # The answer says which stage it is of.
        if isinstance(status, bytes):
            status = status.decode()
        if "Ready to start TLS" in status:
            return "starttls"
        if status.startswith("250 OK") and self.envelope.mail_from and not self.envelope.rcpt_tos:
            return "mail"
        if status.startswith("354"):
            return "data"
        if "taken" in status:
            return "done"
        return None


class Handler:
    def __init__(self, plan):
        self.plan = plan
        self.deferred = set()

    async def handle_MAIL(self, server, session, envelope, address, options):
        if address.split("@")[0] == "unwanted":
            return "550 5.7.1 Sender address rejected"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.split("@")[0]
        if name == "refused":
            return "550 5.1.1 No such user here"
        if name == "later1" and address not in self.deferred:
            self.deferred.add(address)
            return "450 4.2.0 Greylisted, come later"
        if name == "later":
            return "450 4.2.0 Greylisted, come later"
        if name == "full":
            return "552 5.2.2 Mailbox full"
        if name == "crowded":
            return "452 4.5.3 Too many recipients"
        if name == "echo":
            return "550 5.7.1 I was told {}".format(self.plan.get("password"))
        if name == "gone":
            return "421 4.3.2 Going down"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        raw = envelope.content
        for word, answer in [
            (b"X-Tollgate-Test-Spam", "554 5.7.1 Looks like spam"),
            (b"X-Tollgate-Test-Huge", "552 5.3.4 Message too big"),
            (b"X-Tollgate-Test-Busy", "451 4.3.0 Try again"),
        ]:
            if word in raw:
                return answer
        tell(
            {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "options": envelope.mail_options,
                "hello": session.host_name,
                "tls": server.transport.get_extra_info("ssl_object") is not None,
                "user": session.auth_data.decode() if session.auth_data else None,
                "raw": base64.b64encode(raw).decode(),
                "mail": part(email.message_from_bytes(raw, policy=email.policy.default)),
            }
        )
        return "250 2.0.0 Message taken"


def authenticator(plan):
    def check(server, session, envelope, mechanism, data):
        user, password = data.login.decode(), data.password.decode()
        if (user, password) == (plan["user"], plan["password"]):
            return AuthResult(success=True, auth_data=data.login)
        # Some servers repeat what they were told.
        told = "535 5.7.8 {} {} is not right".format(password, base64.b64encode(data.password).decode())
        return AuthResult(success=False, handled=False, message=told)

    return check


async def main():
    loop = asyncio.get_running_loop()
    plan = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(plan["cert"], plan["key"])
    handler = Handler(plan)
    login = plan.get("user") is not None
    plain = plan.get("plain_login", False)

    def server(starttls=False, implicit=False):
        asks = login and (starttls or implicit or plain)
        return Server(
            handler,
            hostname="mail.test",
            loop=loop,
            tls_context=tls if starttls else None,
            require_starttls=starttls,
            authenticator=authenticator(plan) if asks else None,
            auth_required=asks,
            auth_require_tls=not (implicit or plain),
            enable_SMTPUTF8=plan.get("utf8", False),
        )

    async def listen(make, context=None):
        listener = await loop.create_server(make, "127.0.0.1", 0, ssl=context)
        return listener.sockets[0].getsockname()[1]

    tell(
        {
            "starttls": await listen(lambda: server(starttls=True)),
            "tls": await listen(lambda: server(implicit=True), tls),
            "none": await listen(server),
        }
    )
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
