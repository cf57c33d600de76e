"""Secrets are shown nowhere: not in values, plans, pickles, state, errors or tracebacks."""

from __future__ import annotations

import contextlib
import io
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.connectors import memory
from streamlib.core import redaction
from streamlib.core.canonical import canonical
from streamlib.core.errors import shown
from streamlib.core.redaction import redacted
from streamlib.core.secrets import LARGEST, Secret, reveal, secrets_in
from streamlib.plan.render import FORMATS

VALUE = 'tr0ub4dor&"3\\ é'
MASKED = "***"


@dataclass(frozen=True)
class Served:
    """A connector that logs in: it fails with its password in the text, where it is told to."""

    password: str | Secret
    fails: bool = False

    @property
    def delivery(self):
        return "at_least_once"

    def open(self, context):
        Served.seen = reveal(self.password)
        return self

    def write(self, rows):
        if self.fails:
            raise ConnectionError(f"no login as app:{reveal(self.password)}@db")

    def prepare(self, number):
        return {"prepared": number}

    def commit(self, number, pending): ...
    def last_committed(self):
        return 0

    def close(self): ...


def served(secret: Secret, **options) -> sl.Flow:
    rows = sl.read(memory.source([{"id": 1}]), name="rows")
    return sl.Flow("served", rows.write(Served(secret, **options), name="out"))


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    """What one test revealed must not hide the words of another."""
    monkeypatch.setattr(redaction, "_known", {})


@pytest.fixture
def secret(monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", VALUE)
    return sl.secret("env:DB_PASSWORD")


# --------------------------------------------------------------------------- values


def test_a_secret_shows_its_reference_and_nothing_else(secret):
    assert repr(secret) == str(secret) == f"{secret}" == "secret('env:DB_PASSWORD')"
    assert secret.reveal() == VALUE
    assert VALUE not in repr(vars(secret))
    assert canonical(secret) == ("streamlib.core.secrets.Secret", ("reference", "env:DB_PASSWORD"))
    assert secret == sl.secret("env:DB_PASSWORD") != sl.secret("env:OTHER")


def test_plans_fingerprints_and_pickles_of_a_flow_hold_the_reference_alone(secret, monkeypatch):
    flow = served(secret)
    secret.reveal()
    before = flow.fingerprint
    for format in FORMATS:
        assert VALUE not in flow.explain(format)
    assert "DB_PASSWORD" in flow.explain()
    assert VALUE.encode() not in pickle.dumps(flow.sinks[0].node.spec)
    assert VALUE not in repr(flow.form)
    monkeypatch.setenv("DB_PASSWORD", "another")
    assert served(secret).fingerprint == before


def test_a_file_is_read_without_its_last_line_end(tmp_path):
    (tmp_path / "password").write_text("first\nsecond\n")
    assert sl.secret(f"file:{tmp_path}/password").reveal() == "first\nsecond"
    (tmp_path / "password").write_bytes(b"changed\r\n")
    assert sl.secret(f"file:{tmp_path}/password").reveal() == "changed", "it is read anew"


def test_a_secret_in_the_place_of_a_reference_is_refused_and_not_shown():
    for text in ("hunter22", "evn:NAME", "env:", "file:", 7):
        with pytest.raises(sl.StreamlibError, match="'env:NAME' or 'file:PATH'") as raised:
            sl.secret(text)  # type: ignore[arg-type]
        assert "hunter22" not in str(raised.value)


def test_secrets_are_found_wherever_a_connector_keeps_them():
    class Plain:
        def __init__(self):
            self.options = {"sasl": [sl.secret("env:A"), "x"], "rows": list(range(100_000))}
            self.auth = (sl.secret("env:B"), Served(sl.secret("env:A")))
            self.me = self

    assert {s.reference for s in secrets_in(Plain())} == {"env:A", "env:B"}
    assert list(secrets_in(memory.source([{"id": 1}]))) == []


# --------------------------------------------------------------------------- jobs


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_job_opens_with_the_value_and_its_state_does_not_hold_it(secret, tmp_path):
    assert served(secret).run(state=tmp_path / "s", progress="none").outcome == "finished"
    assert Served.seen == VALUE
    kept = everything_in(tmp_path / "s")
    assert kept
    assert VALUE.encode() not in kept
    assert b"tr0ub4dor" not in kept


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("env:NOT_SET_AT_ALL", "there is no such environment variable"),
        ("env:EMPTY_ONE", "it is empty"),
        ("file:/nowhere/at/all", "FileNotFoundError: No such file or directory"),
        ("file:{}/bytes", "it is not UTF-8"),
        ("file:{}/large", "it has more than 65,536 bytes"),
    ],
)
def test_a_missing_secret_ends_the_start_before_anything_is_opened(tmp_path, monkeypatch, reference, found):
    monkeypatch.setenv("EMPTY_ONE", "")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * (LARGEST + 1))
    Served.seen = None
    with pytest.raises(LookupError) as raised:
        served(sl.secret(reference.format(tmp_path))).run(state=tmp_path / "s", progress="none")
    said = str(raised.value)
    assert said.startswith("in operator 'out' (test_secrets.py:")
    assert "can't be read" in said
    assert found in said
    assert Served.seen is None
    assert not (tmp_path / "s").exists()


# --------------------------------------------------------------------------- errors


def test_errors_of_ours_hide_the_value_in_every_part_and_before_they_cut_it(secret):
    secret.reveal()
    error = sl.StreamlibError(VALUE, expected=VALUE, found=shown(VALUE), remedy=f"x{VALUE}y")
    for text in (str(error), repr(error), repr(error.args), str(pickle.loads(pickle.dumps(error)))):
        assert "tr0ub4dor" not in text
    assert str(error).count(MASKED) == 4
    long = "-" * 115 + VALUE
    assert "tr0" not in shown(long), "half a secret is one, too"


@pytest.mark.parametrize(
    "written",
    [
        "{}",
        "password={!r}",
        "tr0ub4dor%26%223%5C%20%C3%A9",
        'tr0ub4dor&\\"3\\\\ \\u00e9',
        "twice {0} and {0}",
    ],
)
def test_a_value_is_hidden_however_it_is_written(secret, written):
    secret.reveal()
    text = written.format(VALUE) if "{" in written else written
    assert "tr0ub4dor" not in redacted(text)
    assert MASKED in redacted(text)


def test_single_lines_of_a_key_file_are_hidden_too(tmp_path):
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nab\n-----END KEY-----\n"
    (tmp_path / "key.pem").write_text(key)
    sl.secret(f"file:{tmp_path}/key.pem").reveal()
    assert redacted("bad line MIIEvQIBADANBgkqhkiG in ab") == "bad line *** in ab"


def test_a_longer_secret_is_hidden_before_one_that_is_a_part_of_it(monkeypatch):
    for name, value in (("SHORT", "swordfish"), ("LONG", "swordfish-swordfish-x")):
        monkeypatch.setenv(name, value)
        sl.secret(f"env:{name}").reveal()
    assert redacted("swordfish-swordfish-x, swordfish") == "***, ***"


FLOW = """
import pyarrow as pa
import streamlib as sl
from streamlib.connectors import memory
from tests.test_secrets import Served
rows = sl.read(memory.source([{"id": 1}]), name="rows")
password = sl.secret("env:DB_PASSWORD")
flow = sl.Flow("f", rows.write(Served(password, fails=True), name="out"))
def leak(row):
    raise ValueError(f"what {password.reveal()!r} is")
leaking = sl.Flow("g", rows.map(leak, schema={"id": pa.int64()}).write(Served(password), name="out"))
"""


@pytest.mark.parametrize("target", ["flow", "leaking"])
def test_the_command_line_hides_what_an_exception_of_user_code_quotes(tmp_path, target):
    (tmp_path / "mine.py").write_text(FLOW)
    root = str(Path(__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-m", "streamlib", "run", f"mine.py:{target}", "--progress", "none"],
        cwd=tmp_path,
        env={"PYTHONPATH": root, "DB_PASSWORD": VALUE, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    assert "Traceback" in run.stderr
    assert MASKED in run.stderr
    assert "tr0ub4dor" not in run.stderr + run.stdout
    assert b"tr0ub4dor" not in everything_in(tmp_path / ".streamlib")


def test_check_names_secrets_and_whether_they_can_be_read_but_not_their_values(tmp_path):
    (tmp_path / "mine.py").write_text(FLOW)
    for environ, told in (
        ({"DB_PASSWORD": VALUE}, "env:DB_PASSWORD  for out, readable"),
        ({}, "env:DB_PASSWORD  for out, not readable here: there is no such environment variable"),
    ):
        run = subprocess.run(
            [sys.executable, "-m", "streamlib", "check", "mine.py"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(__file__).parents[1]), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert told in run.stdout
        assert "tr0ub4dor" not in run.stdout + run.stderr


def test_progress_and_summaries_of_a_job_show_nothing(secret, tmp_path):
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        served(secret).run(state=tmp_path / "s", progress="plain")
    assert err.getvalue()
    assert "tr0ub4dor" not in err.getvalue()


def test_the_schema_of_rows_is_not_searched():
    assert list(secrets_in(pa.schema([("env:A", pa.string())]))) == []
