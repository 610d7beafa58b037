"""Hides secrets: passwords, tokens and signatures in URLs, text and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")

HIDDEN = "***"
_LONGEST_REASON = 200

# Also as other languages' JSON escapes the slashes, and with the one slash that pathlib leaves.
_SCHEME = re.compile(
    r"(?<![A-Za-z0-9+.\-])(?:([A-Za-z0-9+.\-]*):(?:\\?/){2}|([A-Za-z0-9+.\-]{2,}):\\?/(?![/\\]))"
)
_AUTHORITY = re.compile(r"(?:(?!::(?:[a-z0-9+.\-]+::)*[a-z0-9+.\-]+://)[^/?#\\\s])*", re.IGNORECASE)
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[^:@,\[\]]*)(?::\d*)?"  # perhaps with a port
_PLAIN = re.compile(rf"{_HOST}(?:,{_HOST})*|arn:[^@]*")
_LOOPBACK = re.compile(r"(?:\[::1\]|localhost|127(?:\.\d+){3})(?::\d*)?", re.IGNORECASE)
_AFTERWARDS = " \t\n\r\"'`,.;:!)]}>…"  # what a sentence or a list puts behind a URL
# In quotes a URL ends at the quote that is followed by what may stand behind a quoted word.
_QUOTED = {
    quote: re.compile(rf"(?:\\\S|[^\s\\{quote}]|{quote}(?![\s,:;)\]}}>.]|$))*") for quote in "\"'`"
}
_UNQUOTED = re.compile(r"\S*")
_TO_AN_AT = re.compile(r"[^\n@]{0,200}@\S*")
_SIGNS = frozenset("@?#=%")
_CONTAINERS = {"abfs", "abfss", "wasb", "wasbs"}  # container@account: no user is named there


def redact(text: str) -> str:
    """Hide users, passwords, signed queries and tokens of the URLs in `text`, and named secrets.

    A named secret is a word such as password, token or secret_key with its value, as error
    messages of libraries and `--set` have them. A text that can be read in two ways, such as
    https://me:8080/word@host, is hidden. Text that is already hidden stays as it is.
    """
    if text.count(":") <= 1 and ":/" in text and not _SIGNS.intersection(text):
        return text  # a million images of a store have such names
    if ":/" in text or ":\\/" in text:
        text = _without_urls(text)
    return _without_names(text)


def reason(error: BaseException, *urls: str) -> str:
    """Return an error's text in one line, without the secrets of the URLs that it is about."""
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    if any(redact(url) != url for url in urls):
        return type(error).__name__  # its text may hold any piece of the URL
    if isinstance(error, OSError) and error.strerror:
        return redact(error.strerror)
    text = redact(" ".join(str(error).split()))
    return text[:_LONGEST_REASON] or type(error).__name__


def redacted(value: T) -> T:
    """Hide the secrets of every URL inside plain values, and of arguments with a secret's name.

    Arguments are the values below a key such as kwargs or storage_options: other sections have
    keys of this project, or names of classes.
    """
    return cast(T, _redacted(value, arguments=False))


def _redacted(value: Any, arguments: bool) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {
            key: _hidden(item)
            if arguments and _is_secret(str(key), bare=True)
            else _redacted(item, arguments or str(key).endswith(("kwargs", "options")))
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        found = [_redacted(item, arguments) for item in value]
        return found if isinstance(value, list) else tuple(found)
    return value


def _hidden(value: Any) -> Any:
    """Hide a secret argument: a text or a number is hidden, `token: true` is not."""
    if isinstance(value, Mapping):
        return {key: _hidden(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(item) for item in value]
    return value if value is None or isinstance(value, bool) or value == "" else HIDDEN


# ---- URLs


def _without_urls(text: str) -> str:
    """Hide the secrets of every URL in a text."""
    at = until = 0
    while (found := _SCHEME.search(text, at)) is not None:
        end = _end(text, found)
        if found.start() < until:
            end = min(end, until)
        scheme = (found[1] or found[2] or "").lower()
        user, rest = _without_secrets(scheme, text[found.end() : end])
        text = f"{text[: found.end()]}{user}{rest}{text[end:]}"
        # Chained protocols and gateways have further URLs in the rest.
        at = found.end() + len(user)
        until = at + len(rest)
    return text


def _end(text: str, scheme: re.Match[str]) -> int:
    """Return where a URL ends: at a space, or at the quote that it began with."""
    start = scheme.end()
    quote = text[scheme.start() - 1 : scheme.start()]
    found = _QUOTED.get(quote, _UNQUOTED).match(text, start)
    assert found is not None
    end = found.end()
    if "@" not in text[start:end] and not _is_plain(text[start:end]):
        # The password holds characters that should have been escaped.
        beyond = _TO_AN_AT.match(text, end)
        end = end if beyond is None else beyond.end()
    return end


def _is_plain(url: str) -> bool:
    """Return whether a URL, after its slashes, begins with the host itself."""
    found = _AUTHORITY.match(url)
    assert found is not None
    authority = found[0]
    if found.end() == len(url):
        authority = authority.rstrip(_AFTERWARDS)
    return _PLAIN.fullmatch(authority) is not None


def _without_secrets(scheme: str, url: str) -> tuple[str, str]:
    """Take a URL apart, after its slashes, and return only the parts that may be shown.

    Returns the replacement of user and password, with the @ behind them, and the rest.
    """
    start = _user_end(scheme, url)
    user, rest = "", url[start:]
    if start:
        user = f"{HIDDEN}@" if url[start - 1] == "@" else HIDDEN
    cut = _query_start(scheme.endswith(("http", "https")), rest)
    if cut is None:
        return user, rest
    tail = rest[cut + 1 :]
    return user, f"{rest[: cut + 1]}{HIDDEN}{tail[len(tail.rstrip(_AFTERWARDS)) :]}"


def _user_end(scheme: str, url: str) -> int:
    """Return the length of user and password, with the @ behind them; 0 if there are none."""
    found = _AUTHORITY.match(url)
    assert found is not None
    authority = found[0]
    name, at, _ = authority.partition("@")
    if at and ":" not in name:
        return 0 if scheme in _CONTAINERS else authority.rfind("@") + 1
    if not at and (":" not in name or _LOOPBACK.fullmatch(authority) or authority[0] == "["):
        return 0
    # A password may hold unescaped characters, also slashes and further @.
    end = url.rfind("@") + 1
    if end or _is_plain(url):
        return end
    return len(url.rstrip(_AFTERWARDS))  # cut off before the @


def _query_start(http: bool, rest: str) -> int | None:
    """Return where the part of a URL begins that may hold tokens: its query, or its fragment.

    Signed links have theirs there. Elsewhere than in http both may be a pattern or part of a name.
    """
    for found in re.finditer(r"[?#]", rest):
        tail = rest[found.start() :]
        said = tail[1:].rstrip(_AFTERWARDS)
        if re.search(r"=|&|%3d", said, re.IGNORECASE):
            return found.start()
        if http and said and not said.startswith("/"):  # /: a page of an application
            return found.start()
    return None


# ---- names of secrets

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_ALWAYS = {
    "password", "passwd", "passphrase", "passwort", "pwd", "secret", "secrets", "credential",
    "credentials", "signature", "sig", "apikey", "accesskey", "accountkey", "secretkey",
    "privatekey", "sharedkey", "authtoken", "accesstoken", "sastoken", "authorization",
}  # fmt: skip
_KEYS = {"access", "account", "api", "auth", "encryption", "private", "sas", "secret", "shared"}
# Tokens of a text model.
_NO_TOKENS = {
    "begin", "bos", "class", "cls", "end", "eos", "image", "init", "initial", "initializer", "mask",
    "max", "pad", "per", "placeholder", "sep", "special", "start", "unk", "word",
}  # fmt: skip

# key=value and "key": "value"; not as part of a path, where folders are called so.
_PAIR = re.compile(
    r"""(?<![\w./\\-])(?P<name>[\w.-]*\w)"""
    r"""(?:\\?["']\s*[:=]\s*|=|:[ ]*(?=(?:Basic|Bearer)\s))"""
    r"""(?P<value>(?:(?:Basic|Bearer)\s+)?(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
    r"""|\\(?P<escaped>["']).*?\\(?P=escaped)|[^\s"'&,;)\]}]+))"""
)
# key: value of YAML
_LINE = re.compile(
    r"""(?:^|[{,])[ \t]*(?:-[ ])?(?P<name>[\w-]+):[ ]+"""
    r"""(?P<value>"(?:\\.|[^"\\])*"|'(?:''|[^'])*'|[^\n,}"']+)""",
    re.MULTILINE,
)


def _without_names(text: str) -> str:
    """Hide the values of secrets that a text names."""
    if "=" in text or ":" in text:
        text = _PAIR.sub(_hide_pair, text)
    return _LINE.sub(_hide_pair, text) if ": " in text else text


def _hide_pair(pair: re.Match[str]) -> str:
    value = pair["value"]
    if not _is_secret(pair["name"]) or value.lower() in ("none", "null", "true", "false"):
        return pair[0]
    quote = value[0] if value[0] in "\"'" else ""
    return pair[0][: pair.start("value") - pair.start()] + quote + HIDDEN + quote


def _is_secret(name: str, bare: bool = False) -> bool:
    """Return whether a name is that of a secret: api_key, AWSAccessKeyId, X-Amz-Signature.

    Args:
        bare: whether "key" alone counts as one.
    """
    words = [word.lower() for word in _WORDS.findall(name.rpartition(".")[2])]
    if not _ALWAYS.isdisjoint(words):
        return True
    for before, word in zip(["", *words], words, strict=False):
        if word == "token" and before not in _NO_TOKENS:
            return True
        if word == "key" and (before in _KEYS or (bare and words == ["key"])):
            return True
    return False
