"""TLS from the engine to PostgreSQL: the certificate is verified against a CA of one's own, name and all."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest

from harness import BINARIES, DEADLINE_SECONDS, HOME, Program, free_port, wait_for

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def certificates(folder: Path) -> None:
    """A CA, what it says of `localhost`, and another CA."""
    assert shutil.which("openssl"), "openssl is not installed: apt-get install openssl"
    for name in ("ca", "other"):
        ca = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem", "-subj", f"/CN=Our {name}"]
        run("openssl", "req", "-x509", *KEY, "-days", 2, *ca)
    asked = ["-keyout", folder / "server.key", "-out", folder / "server.csr", "-subj", "/CN=localhost"]
    run("openssl", "req", *KEY, *asked)
    names = folder / "names"
    names.write_text("subjectAltName = DNS:localhost\n")
    signed = ["-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial", "-extfile", names]
    run("openssl", "x509", "-req", "-in", folder / "server.csr", "-days", 2, *signed, "-out", folder / "server.pem")


@pytest.fixture
def server():
    """A PostgreSQL server that takes connections by TLS alone. Out: its port, and where the CA is."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    programs = Path(found[-1] if found else os.path.dirname(shutil.which("initdb") or ""))
    folder = Path(tempfile.mkdtemp(prefix="oms-tls-"))
    certificates(folder)
    as_user = []
    if os.geteuid() == 0:
        # It does not run as root. Its key is for itself alone.
        owner = next(user for user in ("postgres", "nobody") if user in {entry.pw_name for entry in pwd.getpwall()})
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, owner)
        folder.chmod(0o755)
        as_user = ["runuser", "-u", owner, "--"]
    data, port = folder / "data", free_port()
    run(*as_user, programs / "initdb", "--no-sync", "-D", data, "-U", "oms", "--auth=reject", "--encoding=UTF8")
    # Only the loopback interface is listened on.
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\nhostssl all all ::1/128 trust\n")
    settings = {
        "listen_addresses": "localhost",
        "port": port,
        "unix_socket_directories": "",
        "ssl": "on",
        "ssl_cert_file": folder / "server.pem",
        "ssl_key_file": folder / "server.key",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    log = HOME / "logs" / "tls-postgres.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    program = Program(log, [*as_user, programs / "postgres", "-D", data, *options], {})
    program.says("database system is ready")
    yield port, folder / "ca.pem"
    program.end(signal.SIGINT)
    wait_for("the end of PostgreSQL", lambda: not (data / "postmaster.pid").exists())
    shutil.rmtree(folder, ignore_errors=True)


def engine(name: str, url: str, environment: dict) -> Program:
    log = HOME / "logs" / f"tls-{name}.log"
    log.unlink(missing_ok=True)
    command = [BINARIES / "oms", "server", "--port", free_port()]
    return Program(log, command, {"DATABASE_URL": url, "SSL_CERT_FILE": "", **environment})


def test_the_certificate_of_postgresql_is_verified_against_our_own_ca(server):
    port, ca = server
    url = f"postgres://oms@localhost:{port}/postgres"
    trusted = {"SSL_CERT_FILE": str(ca)}
    served = engine("trusted", f"{url}?sslmode=require", trusted)
    served.says("listens on")
    with psycopg.connect(url, sslmode="verify-full", sslrootcert=ca, autocommit=True) as db:
        encrypted = """SELECT count(*), bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
                       WHERE a.application_name = 'oms-engine'"""
        connections, all_of_them = db.execute(encrypted).fetchone()
        assert connections > 1 and all_of_them
    served.end(signal.SIGTERM)
    for name, refused, environment in [
        ("unknown", f"{url}?sslmode=require", {"SSL_CERT_FILE": str(ca.with_name("other.pem"))}),
        ("other-name", f"postgres://oms@127.0.0.1:{port}/postgres?sslmode=require", trusted),
        ("plain", f"{url}?sslmode=disable", trusted),
    ]:
        tried = engine(name, refused, environment)
        assert tried.process.wait(timeout=DEADLINE_SECONDS) != 0, name
        said = tried.log.read_text()
        wanted = "no pg_hba.conf entry" if name == "plain" else "certificate"
        assert wanted in said, f"{name}: {said}"
