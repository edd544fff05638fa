"""Every way to log in is tried at a real server that refuses everybody else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from nats.errors import Error as NatsError
from nats.errors import NoServersError

from gateway.config import Nats
from gateway.errors import ConfigError
from gateway.nats_connection import Connection, is_refusal
from gateway.nats_login import Login
from tests.support.nats_server import NatsServer
from tests.support.nkeys import Key, credentials, server_configuration
from tests.support.stack import eventually

PATIENCE_S = 5.0


@dataclass
class Guarded:
    """A server whose configuration can be changed while it runs."""

    server: NatsServer
    file: Path

    @property
    def url(self) -> str:
        """Return its address."""
        return self.server.url

    def now_says(self, configuration: str) -> None:
        """Change the configuration; who is not known by it any more is put out."""
        self.file.write_text(configuration, encoding="utf-8")
        self.server.reload()


@contextmanager
def serving(folder: Path, configuration: str) -> Iterator[Guarded]:
    """Run a server with a configuration."""
    file = folder / "nats.conf"
    file.write_text(configuration, encoding="utf-8")
    server = NatsServer(folder, "-c", str(file), jetstream=False)
    server.start()
    try:
        yield Guarded(server, file)
    finally:
        server.stop()


@asynccontextmanager
async def logged_in(
    url: str, settings: Nats, *, attempts: int = 1
) -> AsyncIterator[tuple[Connection, list[Exception]]]:
    """Log in; yield the connection and what it complains of."""
    complaints: list[Exception] = []

    async def note(exc: Exception) -> None:
        complaints.append(exc)

    client = Connection(Login(settings))
    connecting = client.connect(
        url,
        error_cb=note,
        max_reconnect_attempts=attempts,
        reconnect_time_wait=0.01,  # type: ignore[arg-type] # a float works
    )
    try:
        await connecting
        yield client, complaints
    except NoServersError as exc:
        raise complaints[0] from exc
    finally:
        await client.close()


async def complaint_of(server: Guarded, settings: Nats) -> Exception:
    """Try to log in until the server says why not; it may close before that is read."""
    while True:
        with pytest.raises((NatsError, OSError)) as told:
            await can_talk(server, settings)
        if not isinstance(told.value, ConnectionError):
            return told.value


async def hears_itself(client: Connection) -> bool:
    """Tell whether a message goes out and comes back."""
    heard = await client.subscribe("greeting")
    await client.publish("greeting", b"hello")
    return (await heard.next_msg(timeout=5)).data == b"hello"


async def can_talk(server: Guarded, settings: Nats) -> bool:
    """Log in and hear one's own message."""
    async with logged_in(server.url, settings) as (client, _):
        return await hears_itself(client)


def secret_file(folder: Path, secret: str) -> Path:
    """Write a secret into a file."""
    file = folder / "secret"
    file.write_text(f"{secret}\n", encoding="ascii")
    return file


async def test_nkey_logs_in(tmp_path: Path) -> None:
    """A file with a seed is enough; the package `nkeys` is not needed."""
    user = Key("user")
    file = tmp_path / "seed"
    file.write_text(f"{user.seed}\n", encoding="ascii")
    with serving(tmp_path, f"authorization {{ users: [{{nkey: {user.public}}}] }}") as server:
        assert await can_talk(server, Nats(nkey=file))


async def test_other_nkey_is_refused(tmp_path: Path) -> None:
    """The server knows the one from the other, so the test above proves something."""
    file = tmp_path / "seed"
    file.write_text(Key("user").seed, encoding="ascii")
    known = Key("user").public
    with serving(tmp_path, f"authorization {{ users: [{{nkey: {known}}}] }}") as server:
        assert is_refusal(await complaint_of(server, Nats(nkey=file)))


async def test_credentials_log_in(tmp_path: Path) -> None:
    """A `.creds` file of an operator's account: its JWT, and a signature by its seed."""
    operator, account, user = Key("operator"), Key("account"), Key("user")
    file = tmp_path / "user.creds"
    file.write_text(credentials(account, user), encoding="ascii")
    with serving(tmp_path, server_configuration(operator, account)) as server:
        assert await can_talk(server, Nats(credentials=file))


@pytest.mark.parametrize(
    "seed",
    ["", "SUA", "not base 32!", Key("user").public],
    ids=["empty", "short", "no base 32", "a public key"],
)
def test_bad_seed_is_a_problem_of_the_configuration(seed: str, tmp_path: Path) -> None:
    """It is found before anything connects, and the seed itself is not printed."""
    file = tmp_path / "seed"
    file.write_text(seed, encoding="ascii")

    with pytest.raises(ConfigError, match="not an nkey seed"):
        Login(Nats(nkey=file)).check()


PASSWORDS: dict[str, tuple[str, Callable[[Path], dict[str, object]]]] = {
    "password": ("user: gw, password: s3cret", lambda _: {"user": "gw", "password": "s3cret"}),
    "password in a file": (
        "user: gw, password: s3cret",
        lambda folder: {"user": "gw", "password_file": secret_file(folder, "s3cret")},
    ),
    "token": ("token: s3cret", lambda _: {"token": "s3cret"}),
    "token in a file": (
        "token: s3cret",
        lambda folder: {"token_file": secret_file(folder, "s3cret")},
    ),
}


@pytest.mark.parametrize("way", PASSWORDS)
async def test_shared_secret_logs_in(way: str, tmp_path: Path) -> None:
    """A user's password, or a token, from the configuration or from a file."""
    known, settings = PASSWORDS[way]
    with serving(tmp_path, f"authorization {{ {known} }}") as server:
        assert await can_talk(server, Nats.model_validate(settings(tmp_path)))


@pytest.mark.parametrize("way", PASSWORDS)
async def test_other_shared_secret_is_refused(way: str, tmp_path: Path) -> None:
    """The server knows the one from the other; the refusal is known for one."""
    known, settings = PASSWORDS[way]
    other = known.replace("s3cret", "another")
    with serving(tmp_path, f"authorization {{ {other} }}") as server:
        told = await complaint_of(server, Nats.model_validate(settings(tmp_path)))

        assert is_refusal(told)


def test_file_with_two_secrets_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    """Which one is meant is not guessed, and neither is printed."""
    file = secret_file(tmp_path, "one\ntwo-s3cret")
    with pytest.raises(ConfigError, match="2 found") as told:
        Login(Nats(token_file=file)).check()

    assert "s3cret" not in str(told.value)


# ---- encryption ----------------------------------------------------------------------------------


@dataclass
class Certificates:
    """An authority, and files as an operator hands them out."""

    folder: Path
    authority: trustme.CA

    @property
    def ca(self) -> Path:
        """Return the authority's certificate."""
        return self.folder / "ca.pem"

    def issue(self, name: str, *names: str, authority: trustme.CA | None = None) -> tuple[str, str]:
        """Write a certificate and its key."""
        made = (authority or self.authority).issue_cert(*names or ("127.0.0.1",))
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        made.cert_chain_pems[0].write_to_path(str(certificate))
        made.private_key_pem.write_to_path(str(key))
        return str(certificate), str(key)

    def server(self, *, mutual: bool = False) -> str:
        """Write a server's section `tls`."""
        certificate, key = self.issue("server")
        verify = f'ca_file: "{self.ca}", verify: true' if mutual else ""
        return f'tls {{ cert_file: "{certificate}", key_file: "{key}", {verify} }}'


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Make an authority once; keys take their time."""
    return trustme.CA()


@pytest.fixture
def certificates(authority: trustme.CA, tmp_path: Path) -> Certificates:
    """Hand out the files of an authority."""
    made = Certificates(tmp_path, authority)
    authority.cert_pem.write_to_path(str(made.ca))
    return made


async def test_tls_with_an_own_authority(certificates: Certificates, tmp_path: Path) -> None:
    """`tls_ca` is all that it takes."""
    with serving(tmp_path, certificates.server()) as server:
        assert await can_talk(server, Nats(tls_ca=certificates.ca))


async def test_server_of_another_authority_is_refused(
    certificates: Certificates, tmp_path: Path
) -> None:
    """Whoever sits in between has no certificate of ours."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with (
        serving(tmp_path, certificates.server()) as server,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        await can_talk(server, Nats(tls_ca=other))


async def test_mutual_tls(certificates: Certificates, tmp_path: Path) -> None:
    """The server wants a certificate of ours as well."""
    certificate, key = certificates.issue("client", "gateway.example")
    mutual = certificates.server(mutual=True)
    settings = Nats(tls_ca=certificates.ca, tls_certificate=Path(certificate), tls_key=Path(key))
    with serving(tmp_path, mutual) as server:
        assert await can_talk(server, settings)


async def test_mutual_tls_without_a_certificate_is_refused(
    certificates: Certificates, tmp_path: Path
) -> None:
    """The server knows the one from the other."""
    with (
        serving(tmp_path, certificates.server(mutual=True)) as server,
        pytest.raises((NatsError, OSError)),
    ):
        await can_talk(server, Nats(tls_ca=certificates.ca))


async def test_nothing_is_said_to_a_server_without_tls(
    certificates: Certificates, tmp_path: Path
) -> None:
    """Somebody in between who hides that the server has TLS does not get the password."""
    said = bytearray()

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.11.0","max_payload":1048576}\r\n')
        with suppress(ConnectionError):
            while heard := await reader.read(4096):
                said.extend(heard)
        writer.close()

    pretender = await asyncio.start_server(pretend, "127.0.0.1", 0)
    port = pretender.sockets[0].getsockname()[1]
    settings = Nats.model_validate({"tls_ca": certificates.ca, "user": "gw", "password": "s3cret"})
    with pytest.raises(NatsError, match="offers none"):
        async with logged_in(f"nats://127.0.0.1:{port}", settings):
            pass
    pretender.close()

    assert b"" == bytes(said)


# ---- rotation ------------------------------------------------------------------------------------


async def test_changed_password_is_read_from_its_file(tmp_path: Path) -> None:
    """The server puts us out; with the new secret we are back, subscriptions and all."""
    file = secret_file(tmp_path, "old")
    guarded = "authorization {{ user: gw, password: {} }}"
    with serving(tmp_path, guarded.format("old")) as server:
        settings = Nats(user="gw", password_file=file)
        async with logged_in(server.url, settings, attempts=-1) as (client, complaints):
            server.now_says(guarded.format("new"))
            await eventually(lambda: sum(map(is_refusal, complaints)) > 1, PATIENCE_S)
            secret_file(tmp_path, "new")
            await eventually(lambda: client.stats["reconnects"], PATIENCE_S)

            assert await hears_itself(client)


async def test_changed_nkey_is_read_from_its_file(tmp_path: Path) -> None:
    """Its public half changes with it."""
    old, new = Key("user"), Key("user")
    file = secret_file(tmp_path, old.seed)
    guarded = "authorization {{ users: [{{nkey: {}}}] }}"
    with serving(tmp_path, guarded.format(old.public)) as server:
        async with logged_in(server.url, Nats(nkey=file), attempts=-1) as (client, _):
            secret_file(tmp_path, new.seed)
            server.now_says(guarded.format(new.public))
            await eventually(lambda: client.stats["reconnects"], PATIENCE_S)

            assert await hears_itself(client)


async def test_changed_credentials_are_read_from_their_file(tmp_path: Path) -> None:
    """Half a file, as while it is being copied, is tried again like a refused one."""
    operator, account = Key("operator"), Key("account")
    file = tmp_path / "user.creds"
    whole = credentials(account, Key("user"))
    file.write_text(whole, encoding="ascii")
    with serving(tmp_path, server_configuration(operator, account)) as server:
        settings = Nats(credentials=file)
        async with logged_in(server.url, settings, attempts=-1) as (client, complaints):
            file.write_text(whole[: len(whole) // 2], encoding="ascii")
            server.server.restart()
            await eventually(
                lambda: any("not a credentials file" in str(one) for one in complaints), PATIENCE_S
            )
            file.write_text(credentials(account, Key("user")), encoding="ascii")
            await eventually(lambda: client.stats["reconnects"], PATIENCE_S)

            assert await hears_itself(client)


async def test_changed_certificates_are_read_from_their_files(
    certificates: Certificates, tmp_path: Path
) -> None:
    """Of both sides, and of the authority."""
    certificate, key = certificates.issue("client", "gateway.example")
    settings = Nats(tls_ca=certificates.ca, tls_certificate=Path(certificate), tls_key=Path(key))
    with serving(tmp_path, certificates.server(mutual=True)) as server:
        async with logged_in(server.url, settings, attempts=-1) as (client, _):
            certificates.authority = trustme.CA()
            certificates.authority.cert_pem.write_to_path(str(certificates.ca))
            certificates.issue("client", "gateway.example")
            server.file.write_text(certificates.server(mutual=True), encoding="utf-8")
            server.server.restart()
            await eventually(lambda: client.stats["reconnects"], PATIENCE_S)

            assert await hears_itself(client)
