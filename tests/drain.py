"""A drain under load, with an oracle for every request.

An open-loop client sends a request each 1/rate s over many keep-alive connections, one in flight on each. In the middle the
server gets TERM. What may become of a request (RFC 9112 §9.6, §9.3.1):

- answered: a whole response came back. If it says `Connection: close`, nothing more is sent on that connection.
- to be repeated: the connection ended cleanly (FIN, no reset) without a byte of an answer: the request crossed the server's
  FIN on its way. Only a client that had not been told `Connection: close` can be in this place, and only when its connection
  was idle for GRACE_SECONDS of the drain. Counted: of what was sent before those were over none is allowed.
- lost: anything else. A reset, a part of an answer, or no answer at all. None is allowed.

A connection that is made after TERM is refused, or served. The kernel resets those that are in the listener's backlog when it
is closed: counted, few are allowed; any other end is a loss.
"""
import signal
import time
from collections import deque

from crowd import GET, Crowd

BEFORE_SECONDS, AFTER_SECONDS, TRIES_AFTER = 1.0, 60.0, 200
GRACE_SECONDS = 0.1  # of CONN_IDLE_DRAINING_MS, which test_worker holds exactly: on a busy machine clocks are read late


class Outcome:
    def __init__(self):
        self.sent = self.answered = self.told = self.repeat = self.early = self.lost = 0
        self.new_refused = self.new_served = self.new_reset = self.new_lost = 0
        self.rate = 0.0
        self.exit_code = None
        self.samples = []

    def __str__(self):
        return (f"{self.rate:.0f} requests/s; {self.sent} sent, {self.answered} answered, {self.repeat} to be repeated, "
                f"{self.early} of them early, {self.lost} lost; {self.told} connections told to close; after TERM {self.new_refused} refused, "
                f"{self.new_served} served, {self.new_reset} reset in the backlog")

    def check(self):
        problems = []
        if self.lost or self.new_lost or self.answered + self.repeat != self.sent:
            problems.append("a request was lost")
        if self.early:
            problems.append("an idle connection ended too early")
        if self.new_reset > TRIES_AFTER / 2:
            problems.append("new connections are reset")
        if self.exit_code != 0:
            problems.append(f"exit code {self.exit_code}")
        if problems:
            raise AssertionError(f"{problems}: {self} {self.samples[:3]}")


class Drain:
    def __init__(self, server, crowd, rate, connections):
        self.server, self.crowd, self.rate = server, crowd, rate
        self.outcome = Outcome()
        self.free = deque(crowd.connect_all(connections))
        self.busy, self.told, self.newcomers = set(), set(), set()
        self.started = time.monotonic()
        self.next_try = self.told_at = None

    def send_due(self, now):
        due = int(now * self.rate)
        while self.outcome.sent < due and self.free:
            client = self.free.popleft()
            if client.ended is None:
                client.send(GET)
                client.sent_at = time.monotonic()
                self.busy.add(client)
                self.outcome.sent += 1

    def take(self, client):
        for status, head, body in client.responses():
            if status != 200 or body != b"ok":
                self.outcome.samples.append((status, head, body))
                self.outcome.lost += 1
            elif client in self.newcomers:
                self.outcome.new_served += 1
                self.newcomers.discard(client)
            else:
                self.outcome.answered += 1
                self.busy.discard(client)
                if b"Connection: close" in head:
                    self.told.add(client)
                else:
                    self.free.append(client)

    def ended(self, client):
        if client in self.newcomers:
            self.newcomers.discard(client)
            self.outcome.new_refused += client.ended == "refused"
            self.outcome.new_reset += client.ended == "reset" and not client.received
            self.outcome.new_lost += client.ended == "eof" or (client.ended == "reset" and client.received > 0)
        elif client in self.busy:
            self.busy.discard(client)
            clean = client.ended == "eof" and not client.got
            self.outcome.repeat += clean
            self.outcome.early += clean and (self.told_at is None or client.sent_at < self.told_at + GRACE_SECONDS)
            self.outcome.lost += not clean
            if not clean:
                self.outcome.samples.append((client.ended, bytes(client.got)))

    def try_anew(self, now):
        """New connections while it drains, one each 5 ms."""
        if self.next_try is not None and now >= self.next_try and self.tries < TRIES_AFTER:
            self.next_try = now + 0.005
            self.tries += 1
            client = self.crowd.connect()
            self.newcomers.add(client)
            client.send(GET)
            if client.ended:
                self.ended(client)

    def run(self):
        terminated = False
        while (now := time.monotonic() - self.started) < BEFORE_SECONDS + AFTER_SECONDS:
            if not terminated and now >= BEFORE_SECONDS:
                self.outcome.rate = self.outcome.sent / now
                self.told_at = time.monotonic()
                self.server.signal(signal.SIGTERM)
                terminated, self.next_try, self.tries = True, now, 0
            if terminated and not self.crowd.by_fd:
                break
            self.send_due(now)
            self.try_anew(now)
            for client in self.crowd.turn(0.001):
                self.take(client)
                if client.ended:
                    self.ended(client)
        self.outcome.told = len(self.told)
        self.outcome.lost += len(self.busy)
        self.outcome.new_lost += len(self.newcomers)
        return self.outcome


def drain_under_load(server, rate, connections):
    """Takes the server over: it has ended when this returns."""
    try:
        with Crowd(server.port) as crowd:
            outcome = Drain(server, crowd, rate, connections).run()
        outcome.exit_code = server.wait()
        return outcome
    except BaseException:
        server.stop()
        raise


