"""Many clients in one thread: what each sent, what came back, and how its connection ended. Standard library only.

    crowd = Crowd(port)
    clients = [crowd.connect() for _ in range(200)]
    clients[0].send(b"GET / HTTP/1.1\\r\\n")
    crowd.run(2.0, until=lambda: all(client.ended for client in clients))
"""
import errno
import re
import select
import socket
import struct
import time

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
GET = b"GET /pipeline HTTP/1.1\r\nHost: a\r\n\r\n"


class Client:
    """One connection. `ended`: None, "eof", "reset", "refused", or "closed" by ourselves."""

    def __init__(self, crowd, receive_buffer=None):
        self.crowd = crowd
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.out = b""         # not taken by the kernel yet
        self.got = bytearray() # not taken by responses() yet
        self.received = 0      # bytes in all
        self.connected = False
        self.reading = True
        self.ended = None
        self.ended_at = None
        error = self.sock.connect_ex(("127.0.0.1", crowd.port))
        if error not in (0, errno.EINPROGRESS):
            self._end("refused" if error == errno.ECONNREFUSED else "reset")
            return
        crowd.by_fd[self.sock.fileno()] = self
        crowd.poll.register(self.sock.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLET | select.EPOLLRDHUP)

    def send(self, data):
        if self.ended is None:
            self.out += data
            self._write()

    def stop_reading(self):
        self.reading = False

    def finish(self):
        """Ends our half."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self, reset=False):
        if self.ended is None:
            if reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._end("closed")

    def responses(self):
        """Takes complete responses with a Content-Length: [(status, head, body)]."""
        found = []
        while (end := self.got.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.got[:end])
            length = LENGTH.search(head)
            whole = end + 4 + (int(length.group(1)) if length else 0)
            if len(self.got) < whole:
                break
            found.append((int(head[9:12]), head, bytes(self.got[end + 4:whole])))
            del self.got[:whole]
        return found

    def _end(self, how):
        if self.ended is None:
            self.ended = how
            self.ended_at = time.monotonic()
            self.crowd.by_fd.pop(self.sock.fileno(), None)
            self.sock.close()

    def _write(self):
        while self.out and self.connected and self.ended is None:
            try:
                self.out = self.out[self.sock.send(self.out, socket.MSG_NOSIGNAL):]
            except BlockingIOError:
                return
            except OSError:
                self.out = b""  # what the server has to say may still be there to read
                return

    def _read(self):
        while self.reading and self.ended is None:
            try:
                piece = self.sock.recv(262144)
            except BlockingIOError:
                return
            except OSError as error:
                return self._end("refused" if error.errno == errno.ECONNREFUSED else "reset")
            if not piece:
                return self._end("eof")
            self.got += piece
            self.received += len(piece)

    def _event(self, what):
        if not self.connected:
            error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                return self._end("refused" if error == errno.ECONNREFUSED else "reset")
            self.connected = bool(what & select.EPOLLOUT)
        if what & select.EPOLLOUT:
            self._write()
        if what & (select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
            self._read()


class Crowd:
    def __init__(self, port):
        self.port = port
        self.poll = select.epoll()
        self.by_fd = {}

    def connect(self, receive_buffer=None):
        return Client(self, receive_buffer)

    def connect_all(self, count, seconds=60):
        """So many connections that are through the handshake."""
        clients = []
        for _ in range(count):
            clients.append(self.connect())
            if len(clients) % 100 == 0:
                self.turn(0)
        self.run(seconds, until=lambda: all(client.connected or client.ended for client in clients))
        return clients

    def turn(self, seconds):
        """Handles what is there, or waits so long for something: the clients that had an event."""
        touched = []
        for fd, what in self.poll.poll(max(seconds, 0), 1024):
            client = self.by_fd.get(fd)
            if client is not None:
                client._event(what)
                touched.append(client)
        return touched

    def run(self, seconds, until=None, each=None):
        """Goes on for so long, or until a condition holds (then True). `each` is called with the clients of every turn."""
        deadline = time.monotonic() + seconds
        while True:
            if until is not None and until():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return until is None
            touched = self.turn(min(left, 0.02))
            if each is not None:
                each(touched)

    def close(self):
        for client in list(self.by_fd.values()):
            client.close()
        self.poll.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()
