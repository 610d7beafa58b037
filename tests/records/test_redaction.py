"""What is hidden before it is shown or written, and what stays readable."""

import json
import string

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.profiles import examples
from zsd_ray.records.errors import ImageError, RunBrokenError, StoreError, UserError
from zsd_ray.records.redaction import reason, redact, redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sqlite:///x?password=PW", "sqlite:///x?***"),
        ("postgresql://h/db?password=PW", "postgresql://h/db?***"),
        ("abfss://c:PW@h", "abfss://***@h"),
        ("https://u:8080/PW@h", "https://***@h"),
        ("HTTPS://U:PW@H/x", "HTTPS://***@H/x"),
        ("az://c/x?sig=PW", "az://c/x?***"),
        ("gs://b/x?sig=PW", "gs://b/x?***"),
        ("s3://b/x?token=PW&a=1", "s3://b/x?***"),
        ("https://h/x?AWSAccessKeyId=PW&X-Amz-Signature=PW", "https://h/x?***"),
        ("https://h/x?PW", "https://h/x?***"),
        ("https://h/x#token=PW", "https://h/x#***"),
        ("https://PW@h/x", "https://***@h/x"),
        ("https://:PW@h/x", "https://***@h/x"),
        ("https://u:P@W@h/x", "https://***@h/x"),
        ("https://u:P?W@h/x", "https://***@h/x"),
        ("https://u:P#W@h/x", "https://***@h/x"),
        ("https://u:P W@h/x", "https://***@h/x"),
        ("https://u:PW", "https://***"),
        ("https:/u:PW@h/x", "https:/***@h/x"),  # what pathlib makes of it
        (r"https:\/\/u:PW@h", r"https:\/\/***@h"),
        ("zip://a.csv::https://u:PW@h/x.zip", "zip://a.csv::https://***@h/x.zip"),
        ("https://gateway/https://u:PW@h/x", "https://gateway/https://***@h/x"),
        ("cannot open 'https://u:it's@h/x'", "cannot open 'https://***@h/x'"),
        ("(see https://h/x?sig=PW).", "(see https://h/x?***)."),
        ("at https://u:PW@h/x: refused, as s3://k:PW@b", "at https://***@h/x: refused, as s3://***@b"),
        ("{'a': 's3://u:PW@h/x', 'b': 'c@d'}", "{'a': 's3://***@h/x', 'b': 'c@d'}"),
        ('{"a":"s3://u:PW@h/x","b":"c@d"}', '{"a":"s3://***@h/x","b":"c@d"}'),
        ("--set model.kwargs.token=PW", "--set model.kwargs.token=***"),
        ("host=h password='P W' sslmode=on", "host=h password='***' sslmode=on"),
        ('{"secret_access_key": "PW", "n": 1}', '{"secret_access_key": "***", "n": 1}'),
        (r"{\"token\": \"PW\"}", r"{\"token\": ***}"),
        ("a:\n  api_key: PW\n  b: 1", "a:\n  api_key: ***\n  b: 1"),
        ("Authorization: Bearer PW", "Authorization: ***"),
        ("AccountKey=abc/+=PW==;x=1", "AccountKey=***;x=1"),
    ],
)  # fmt: skip
def test_secrets_are_hidden(text, shown):
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "abfss://container@account.dfs.core.windows.net/x",
        "abfss://container@account:443/x@y",
        "s3://bucket/a@b",
        "s3://bucket/img-?.tar",
        "s3://arn:aws:s3:eu-west-1:1:accesspoint/name/x",
        "http://localhost:9000/a@b",
        "http://[::1]:8080/a",
        "redis://h:6379,i:6379/0",
        "(http://127.0.0.1:8265).",
        "MLflow at http://h:5000/#/experiments/1/runs/abc does not answer",
        "/data/token=3/me@home:x.png",
        "C:/Users/me@home",
        "model.kwargs.pad_token=x, n_tokens=77",
        "max_prompt_tokens: 77",
        "prompts.classes: must be a list; key: value",
    ],
)
def test_what_is_no_secret_stays_readable(text):
    assert redact(text) == text


_WORD = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=8)
_HOST = st.lists(_WORD, min_size=1, max_size=3).map(".".join)
_PORT = st.none() | st.integers(1, 65535)
_SCHEME = st.sampled_from(
    ["s3", "S3A", "gs", "az", "abfss", "http", "HTTPS", "sqlite", "postgresql+psycopg2", "ftp"]
)
_PATH = st.lists(
    st.text(string.ascii_letters + string.digits + "-_.~%+@ ", min_size=1, max_size=8), max_size=3
).map(lambda parts: "".join(f"/{part.replace(' ', '')}" for part in parts))
# Not without the letters of a word that nothing else here can be made of.
_SECRET = st.text(string.printable.strip().replace("*", ""), max_size=8).map(
    lambda text: f"{text[:4]}ŞẸÇRÉT{text[4:]}"
)
_AROUND = st.sampled_from(
    [
        lambda url: url,
        lambda url: f"cannot read {url}: refused",
        lambda url: f"<{url}>",
        lambda url: f"'{url}', 'b'",
        lambda url: repr(ValueError(url)),
        lambda url: repr({"path": url, "n": 1}),
        lambda url: json.dumps({"path": url, "n": [1, "a@b"]}),
        lambda url: json.dumps(json.dumps([url, "c"])),
        lambda url: yaml.safe_dump({"data": {"path": url, "limit": 3}}, width=10**6),
        lambda url: f"{url} and {url}",
        lambda url: f"zip://x.csv::{url}",
    ]
)


def _authority(host, port):
    return host if port is None else f"{host}:{port}"


@examples(100)
@given(_SCHEME, _WORD | st.just(""), _SECRET, _HOST, _PORT, _PATH, _AROUND)
@example("https", "u", "8080/ŞẸÇRÉT", "h", None, "", lambda url: url)
def test_no_password_is_shown(scheme, user, secret, host, port, path, around):
    text = around(f"{scheme}://{user}:{secret}@{_authority(host, port)}{path}")
    shown = redact(text)
    assert "ŞẸÇRÉT" not in shown
    assert "\\u015e" not in shown  # as JSON writes its first letter
    assert redact(shown) == shown


@examples(100)
@given(
    _SCHEME, _HOST, _PORT, _PATH, st.sampled_from("?#"),
    st.sampled_from(["sig", "password", "token", "X-Amz-Signature", "a=1&AWSAccessKeyId"]),
    st.text(string.ascii_letters + string.digits + "%+/=-_.~", max_size=8), _AROUND,
)  # fmt: skip
def test_no_query_or_fragment_with_a_token_is_shown(
    scheme, host, port, path, sign, name, secret, around
):
    secret = f"{secret}XYZZY{secret}"
    text = around(f"{scheme}://{_authority(host, port)}{path}{sign}{name}={secret}")
    shown = redact(text)
    assert "XYZZY" not in shown
    assert redact(shown) == shown


@examples(100)
@given(_SCHEME, _HOST, _PORT, _PATH, _AROUND)
def test_a_url_without_secrets_is_shown_as_it_is(scheme, host, port, path, around):
    path = path if port is None else path.replace("@", "")  # me:8080/word@host
    text = around(f"{scheme}://{_authority(host, port)}{path}")
    assert redact(text) == text


@examples(100)
@given(st.text(max_size=60))
def test_any_text_is_taken_and_hiding_twice_changes_nothing(text):
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "piece", ["https://a/", "https://u:p", "x://", "a:b@", "?#", "'", "a.", "a=", '"']
)
def test_long_texts_take_no_time_out_of_proportion(piece):
    redact(piece * (5_000 // len(piece)))


def test_arguments_whose_names_say_so_are_hidden_and_classes_called_so_are_not():
    tree = {
        "model": {
            "kwargs": {
                "token": "PW",
                "key": "PW",
                "api_key": 12345,
                "pad_token": "<pad>",
                "use_auth_token": True,
                "steps": 3,
                "storage_options": {"password": ["PW"], "region": "eu"},
            }
        },
        "prompts": {"classes": ["key", "token=3"], "names": {"key": "a key", "secret": "a secret"}},
        "storage_options": {"secret": "PW"},
    }
    shown = redacted(tree)
    assert "PW" not in str(shown)
    assert "12345" not in str(shown)
    assert shown["model"]["kwargs"]["pad_token"] == "<pad>"  # noqa: S105 - a model's
    assert shown["model"]["kwargs"]["use_auth_token"] is True
    assert shown["model"]["kwargs"]["steps"] == 3
    assert shown["model"]["kwargs"]["storage_options"]["region"] == "eu"
    assert shown["prompts"]["names"] == tree["prompts"]["names"]


@pytest.mark.parametrize("kind", [UserError, RunBrokenError, ImageError, StoreError])
def test_our_errors_tell_no_secret_whatever_they_are_made_of(kind):
    error = kind("cannot read sqlite:///x?password=PW")
    assert str(error) == "cannot read sqlite:///x?***"
    assert reason(ValueError("at s3://k:PW@b")) == "at s3://***@b"
