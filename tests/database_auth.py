#!/usr/bin/env python3
"""Who we are, and where the database is, with a real PostgreSQL: each way to ask for a proof, over each kind of socket; what is
refused, by which side, and what is said then: never a password; and how arena fares meanwhile.

usage: database_auth.py PG_LOGIN ARENA TEMPLATE [CASE]
"""
import base64
import hashlib
import hmac
import os
import re
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import arena  # noqa: E402
import cluster  # noqa: E402
from cluster import Http  # noqa: E402

SECRET = "Gehe1m"  # in each password: nothing that is printed may have it
PASSWORDS = {
    "hashed": f"md5-{SECRET}", "scrammed": f"s c'r\\a%m/@:?#&=+{SECRET}", "cleared": f"clear-{SECRET}", "either": f"either-{SECRET}",
    "prepared": f"\u2168\u00aa\u00ad-{SECRET}", "modern": f"\U0001f600\u00aa-{SECRET}", "longest": "x" * (255 - len(SECRET)) + SECRET,
    "few": f"few-{SECRET}", "greedy": f"greedy-{SECRET}", "locked": f"locked-{SECRET}", "nowhere": f"nowhere-{SECRET}",
    "homeless": f"homeless-{SECRET}",
}
HBA = {"trusted": "trust", "hashed": "md5", "either": "md5", "cleared": "password", "nowhere": None}  # others: scram-sha-256
METHODS = {"trusted": "none", "hashed": "md5", "cleared": "password"}  # that the server asks for; others: scram-sha-256
READY_SECONDS = 60  # when the server has refused us, it is asked again every five seconds
LEAVE_SECONDS = 30  # half of what a drain may take: nothing is in flight
DB = None


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def silent(text, what):
    expect(SECRET not in text and SECRET not in urllib.parse.unquote(text), f"{what} shows a password")


# ------------------------------------------------------------------------------------------------------ the server ----

def hba():
    lines = [f"local all ringmain trust"]
    for role in ["trusted", *PASSWORDS]:
        method = HBA.get(role, "scram-sha-256")
        if method:
            lines += [f"local all {role} {method}", f"host all {role} 127.0.0.1/32 {method}", f"host all {role} ::1/128 {method}"]
    return "\n".join(lines) + "\n"


def verifier(password, iterations):
    """What the server keeps: RFC 5803, as PostgreSQL writes it. For counts that version 15 can't be told."""
    salt = b"0123456789abcdef"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored, server = hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
    texts = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{texts[0]}${texts[1]}:{texts[2]}"


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def set_password(role, password, encryption="scram-sha-256"):
    DB.psql(f"SET password_encryption = '{encryption}'; ALTER ROLE {role} PASSWORD {quoted(password)}")


def make_roles():
    for role in ["trusted", *PASSWORDS]:
        DB.psql(f"CREATE ROLE {role} LOGIN", f"GRANT SELECT ON items TO {role}")
    for role, password in PASSWORDS.items():
        stored = {"few": verifier(password, 1), "greedy": verifier(password, 1000001)}.get(role, password)
        set_password(role, stored, "md5" if role == "hashed" else "scram-sha-256")
    DB.psql("ALTER ROLE locked NOLOGIN", "CREATE DATABASE other", "REVOKE CONNECT ON DATABASE other FROM PUBLIC",
            "CREATE SCHEMA elsewhere", "CREATE TABLE elsewhere.items AS SELECT * FROM public.items WHERE id < 10",
            "UPDATE elsewhere.items SET name = 'from elsewhere'", "GRANT USAGE ON SCHEMA elsewhere TO scrammed",
            "GRANT SELECT ON elsewhere.items TO scrammed")


def has_v6():
    return Path("/proc/net/if_inet6").exists() and "00000000000000000000000000000001" in Path("/proc/net/if_inet6").read_text(
        encoding="ascii")


class Server(cluster.Cluster):
    """A cluster that lets in whom HBA names."""

    def __init__(self, template):
        super().__init__(template)
        path = Path(self.base, "hba.conf")
        path.write_text(hba(), encoding="utf-8")
        path.chmod(0o644)
        self.settings = (f"hba_file={path}", "listen_addresses=127.0.0.1" + (",::1" if has_v6() else ""))


# ------------------------------------------------------------------------------------------------------ connecting ----

def escaped(text):
    return urllib.parse.quote(text, safe="")


def places():
    """{what: (the place in a URL, parameters)}"""
    socket, port = DB.place["socket"], DB.place["port"]
    found = {
        "a folder as a parameter": ("", {"host": socket, "port": str(port)}),
        "a folder as a host": (f"{escaped(socket)}:{port}", {}),
        "an IPv4 address": (f"127.0.0.1:{port}", {}),
        "a name": (f"localhost:{port}", {}),
        "hostaddr": (f"nobody.invalid:{port}", {"hostaddr": "127.0.0.1"}),
    }
    if has_v6():
        found["an IPv6 address"] = (f"[::1]:{port}", {})
    return found


def url(role, password=None, place=None, database="arena", **parameters):
    """`password` None: the right one; empty: none. `place` None: the Unix socket."""
    where, more = place or (f"{escaped(DB.place['socket'])}:{DB.place['port']}", {})
    password = PASSWORDS.get(role, "") if password is None else password
    query = urllib.parse.urlencode({**more, **parameters}, quote_via=urllib.parse.quote)
    who = escaped(role) + (":" + escaped(password) if password else "")
    return f"postgres://{who}@{where}/{database}" + ("?" + query if query else "")


def environment(**more):
    """Without what the caller's says of databases."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("PG", "DATABASE_", "RINGMAIN_"))}
    return {**clean, **more}


def log_in(program, text, **variables):
    done = subprocess.run([program, text], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
                          env=environment(**variables))
    silent(done.stdout + done.stderr, text)
    return done.stdout.strip()


def must(program, text, wanted, what, **variables):
    got = log_in(program, text, **variables)
    expect(re.match(wanted, got), f"{what}: {got!r}, wanted {wanted!r}")


def case_login_each_method(program, _arena):
    """Cleartext is allowed by name only."""
    for what, place in places().items():
        for role in ("trusted", "hashed", "scrammed", "cleared", "either", "prepared", "modern", "longest", "few"):
            method = METHODS.get(role, "scram-sha-256")
            more = {"require_auth": "password"} if method == "password" else {}
            must(program, url(role, place=place, **more), f"in by {method}$", f"{role} by {what}")
            must(program, url(role, place=place, require_auth=method), f"in by {method}$", f"{role} by {what}, required")


def case_login_pairs_and_variables(program, _arena):
    socket, port = DB.place["socket"], str(DB.place["port"])
    secret = PASSWORDS["scrammed"]
    escapes = secret.replace("\\", "\\\\").replace("'", "\\'")
    must(program, f"host={socket} port={port} user=scrammed dbname=arena password='{escapes}'", "in by scram", "pairs")
    must(program, "", "in by scram", "variables", PGHOST=socket, PGPORT=port, PGUSER="scrammed", PGDATABASE="arena", PGPASSWORD=secret)
    must(program, f"host={socket} port={port} user=scrammed", "in by scram", "both", PGDATABASE="arena", PGPASSWORD=secret,
         PGUSER="nobody", PGHOST="nobody.invalid", PGHOSTADDR="192.0.2.1")
    must(program, f"host=localhost port={port} user=hashed dbname=arena", "in by md5", "PGPASSWORD", PGPASSWORD=PASSWORDS["hashed"])


def case_login_prepared_passwords(program, _arena):
    """The server has prepared what it was given; each spelling of it is right."""
    for spelling in ("IXa-", "\u2168\u00aa-", "I\u00adX\u00aa-"):
        must(program, url("prepared", spelling + SECRET), "in by scram", ascii(spelling))
    must(program, url("prepared", "IXb-" + SECRET), "refused 28P01", "another one")
    must(program, url("modern", "\U0001f600a-" + SECRET), "refused 28P01", "what has not been prepared is another one")


def case_login_refused_by_the_server(program, _arena):
    for role in ("hashed", "scrammed", "either", "prepared"):
        must(program, url(role, "wrong-" + SECRET), "refused 28P01: .*password authentication failed", f"{role}, wrong password")
    must(program, url("cleared", "wrong-" + SECRET, require_auth="password"), "refused 28P01", "cleartext, wrong password")
    must(program, url("absent", SECRET), "refused 28000: .*no pg_hba.conf entry", "a role that no line is for")
    must(program, url("nowhere"), "refused 28000: .*no pg_hba.conf entry", "no line in pg_hba.conf")
    must(program, url("locked"), "refused 28000: .*not permitted to log in", "a role that may not")
    must(program, url("trusted", database="absent"), "refused 3D000: .*does not exist", "a database that is not there")
    must(program, url("trusted", database="other"), "refused 42501: .*permission denied", "a database that is not for us")
    must(program, url("trusted", options="-c no_such_setting=1"), "refused 42704", "a setting that is not there")
    DB.psql("DROP OWNED BY homeless", "DROP ROLE homeless")
    must(program, url("homeless"), "refused 28P01", "a role that is gone looks like a wrong password")


def case_login_refused_by_us(program, _arena):
    """Before anything of a password is sent: require_auth, a bound, or that there is none."""
    for role, methods, said in (
            ("trusted", ("scram-sha-256", "md5", "password", "!none"), "asks for no proof"),
            ("hashed", ("scram-sha-256", "none", "!md5"), "asks for md5"),
            ("scrammed", ("md5", "password,none", "!scram-sha-256"), "asks for SCRAM"),
            ("cleared", ("scram-sha-256", "md5,none", "!none"), "asks for the password in clear text")):
        for method in methods:
            must(program, url(role, PASSWORDS.get(role, SECRET), require_auth=method), f"refused -: .*{said}", f"{role}, {method}")
    must(program, url("cleared"), "refused -: .*clear text", "cleartext, by default")
    for role in ("hashed", "scrammed"):
        must(program, url(role, ""), "refused -: .*none is given", f"{role} without a password")
    must(program, url("greedy"), "refused -: .*iterations", "1000001 iterations")


def case_login_no_server(program, _arena):
    nobody = url("trusted", place=("127.0.0.1:1", {}))
    must(program, nobody, "refused -: cannot connect", "nobody listens")
    must(program, url("trusted", place=("", {"host": "/nonexistent"})), "refused -: cannot connect", "no such folder")


def case_login_shown_to_the_server(program, _arena):
    """application_name is what pg_stat_activity shows."""
    for text, wanted in ((url("trusted"), "pg_login"), (url("trusted", application_name="it's \u00e9"), "it's ??"),
                         (url("trusted", fallback_application_name="f"), "f")):
        cluster.gone(DB, "trusted")
        held = subprocess.Popen([program, text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
        line = held.stdout.readline()
        shown = DB.rows("SELECT application_name AS name FROM pg_stat_activity WHERE usename = 'trusted'")
        held.communicate(timeout=60)
        expect(line.startswith("in by") and len(shown) == 1, (line, shown))
        name = shown[0]["name"]
        expect(name == wanted or name.replace("\\xc3\\xa9", "??") == wanted, f"{name!r}, wanted {wanted!r}")


# ---------------------------------------------------------------------------------------------------------- arena ----

class Watched(arena.Arena):
    """Arena with a database, whose lines are looked through at its end."""

    def __init__(self, program, flags, text, *more, **variables):
        # each request asks the database: nothing is kept
        super().__init__(program, "--workers", "1", "--item-ttl", "0", "--drain-timeout", "60s", *more, *flags, env=environment(DATABASE_URL=text, **variables))

    def said(self):
        return "".join(self.lines)

    def __exit__(self, kind, value, trace):
        started = time.monotonic()
        super().__exit__(kind, value, trace)
        took = time.monotonic() - started
        silent(self.said(), "the log")
        expect(took < LEAVE_SECONDS, f"{took:.1f} s to leave:\n{self.said()}")

    def item(self):
        with Http(self.port) as http:
            return http.get("/crud/items/1")

    def is_served(self, seconds=READY_SECONDS):
        took = cluster.until(lambda: cluster.ready(self.port), "ready", seconds)
        status, _, body = self.item()
        expect(status == 200, f"{status} {body!r}\n{self.said()}")
        return took

    def is_refused(self, pattern):
        """Everything else is well."""
        cluster.until(lambda: re.search(pattern, self.said()), f"a line with {pattern!r}:\n{self.said()}", READY_SECONDS)
        status, headers, body = self.item()
        expect(status == 503 and "Retry-After" in headers, f"{status} {body!r}")
        silent(str(headers) + body.decode(), "an answer")
        expect(not cluster.ready(self.port), "ready")
        expect(arena.get(self.port, "/healthz")[0] == 200, "not healthy")
        silent(arena.get(self.port, "/metrics")[2].decode(), "/metrics")


def serving_cases():
    yield from ((url(role), {}) for role in ("trusted", "hashed", "scrammed", "longest"))
    yield url("cleared", require_auth="password"), {}
    yield from ((url("scrammed", place=place), {}) for place in places().values())
    yield url("either", ""), {"PGPASSWORD": PASSWORDS["either"], "PGREQUIREAUTH": "scram-sha-256"}


def case_arena_serves(_program, program, flags):
    for text, variables in serving_cases():
        with Watched(program, flags, text, **variables) as server:
            server.is_served()


def case_arena_is_refused(_program, program, flags):
    for text, pattern in (
            (url("scrammed", "wrong-" + SECRET), "password authentication failed"),
            (url("absent", SECRET), "no pg_hba.conf entry"), (url("trusted", database="absent"), 'database "absent" does not exist'),
            (url("trusted", SECRET, require_auth="scram-sha-256"), "asks for no proof"), (url("cleared"), "in clear text"),
            (url("greedy"), "iterations"), (url("trusted", place=("127.0.0.1:1", {})), "Connection refused"),
            (url("trusted", place=("nobody.invalid:1", {})), "cannot look up 'nobody.invalid'")):
        with Watched(program, flags, text) as server:
            server.is_refused(pattern)


def case_arena_is_let_in_later(_program, program, flags):
    """What was wrong is mended at the server, and nobody restarts us."""
    set_password("scrammed", "other")
    try:
        with Watched(program, flags, url("scrammed")) as server:
            server.is_refused("password authentication failed")
            set_password("scrammed", PASSWORDS["scrammed"])
            took = server.is_served()
            print(f"  let in after {took:.1f} s")
            time.sleep(0.2)
            lines = server.said().count("password authentication failed")
            expect(lines < 4 + took / 5, f"a line for each attempt:\n{server.said()}")
    finally:
        set_password("scrammed", PASSWORDS["scrammed"])


def case_arena_password_changes(_program, program, flags):
    """Connections that are up go on; when they break, nobody lets us in, until the password is ours again."""
    try:
        with Watched(program, flags, url("scrammed")) as server:
            server.is_served()
            set_password("scrammed", "other")
            for _ in range(20):
                expect(server.item()[0] == 200, "a connection that was up")
            DB.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'scrammed'")
            server.is_refused("password authentication failed")
            set_password("scrammed", PASSWORDS["scrammed"])
            server.is_served()
    finally:
        set_password("scrammed", PASSWORDS["scrammed"])


def case_arena_options(_program, program, flags):
    """Settings of the session, and the name that the server shows."""
    for role in ("scrammed", "trusted"):
        cluster.gone(DB, role)
    with Watched(program, flags, url("scrammed", options="-c search_path=elsewhere", application_name="shop 7")) as server:
        server.is_served()
        expect(b"from elsewhere" in server.item()[2], server.item())
        shown = DB.rows("SELECT DISTINCT application_name AS name FROM pg_stat_activity WHERE usename = 'scrammed'")
        expect(shown == [{"name": "shop 7"}], shown)
    with Watched(program, flags, url("trusted")) as server:
        server.is_served()
        shown = DB.rows("SELECT DISTINCT application_name AS name FROM pg_stat_activity WHERE usename = 'trusted'")
        expect(len(shown) == 1 and shown[0]["name"].startswith("arena"), shown)


def case_arena_statement_timeout(_program, program, flags):
    """The server's own deadline, in the URL: the query ends, its connection stays."""
    with Watched(program, flags, url("trusted", options="-c statement_timeout=300ms")) as server, DB.session() as locker:
        server.is_served()
        locker.do("BEGIN")
        locker.do("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        status, _, body = server.item()
        took = time.monotonic() - started
        locker.do("ROLLBACK")
        expect(status in (500, 503, 504) and 0.25 < took < 30, (status, took, body))
        server.is_served()


def case_arena_leaves(_program, program, flags):
    """A TERM at any moment of the way in does not wait for it."""
    for i in range(12):
        with Watched(program, flags, url("few")):
            time.sleep(i * 0.002)


def case_arena_exits(_program, program, flags):
    """What can't be right is said before a socket opens."""
    for text, variables, code, said in (
            (url("scrammed", sslmode="require"), {}, 78, "DATABASE_URL: sslmode=require asks for TLS"),
            (url("scrammed"), {"PGSSLMODE": "verify-full"}, 78, "PGSSLMODE=verify-full asks for TLS"),
            (url("scrammed", color="red"), {}, 2, "DATABASE_URL: unknown parameter color"),
            (url("scrammed", place=("a,b", {})), {}, 2, "DATABASE_URL: host: several hosts"),
            (url("scrammed"), {"DATABASE_MAX_CONN": "1"}, 78, "fewer than one per worker"),
            (f"postgres://u:1/{SECRET}@h/d", {}, 2, "%2F"), (f"postgres://u:{SECRET}%@h/d", {}, 2, "password: '%'"),
            (f"postgres://u:{SECRET} x@h/d", {}, 2, "a blank"), (f"password={SECRET} {SECRET}", {}, 2, "quoted")):
        command = [program, "--listen", "127.0.0.1:0", "--workers", "2", *flags]
        for more, given in (([], {"DATABASE_URL": text}), (["--db", text], {})):
            done = subprocess.run(command + more, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
                                  env=environment(**given, **variables))
            wanted = said.replace("DATABASE_URL", "--db") if more else said
            expect(done.returncode == code and wanted in done.stderr, f"{done.returncode} {done.stderr!r}, wanted {code} {wanted!r}")
            silent(done.stdout + done.stderr, "a usage error")


def cases_of(pg_login, program, word):
    functions = {name.removeprefix("case_"): function for name, function in globals().items()
                 if name.startswith("case_") and word in name}
    for name, function in functions.items():
        if not name.startswith("arena"):
            yield name, lambda function=function: function(pg_login, program)
            continue
        for backend in arena.backends(program):
            yield f"{name} {backend}", lambda function=function, backend=backend: function(pg_login, program, ["--io", backend])


def main(argv):
    global DB
    if len(argv) not in (4, 5):
        sys.exit(__doc__)
    code = cluster.skip_without()
    if code is not None:
        return code
    with Server(argv[3]) as DB:
        make_roles()
        return arena.run_cases(list(cases_of(argv[1], argv[2], argv[4] if len(argv) > 4 else "")))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
