"""Text of strangers, made harmless: for a terminal, for Markdown, and without credentials."""

from __future__ import annotations

import json
import os
import re

# Control characters (a terminal obeys some of them: ESC, CSI, BEL), what turns the direction of
# writing round, line separators, and halves of surrogate pairs, which no encoding can write.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_MARKDOWN = re.compile(r"([\\`*\[\]<>|~$&!#])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# Bounded, so that a long text without any address takes no more than its length.
_USER_IN_URL = re.compile(r"([A-Za-z][\w+.-]{0,20}://)[^/\s'\"]{0,2000}@")
_SIGNED = re.compile(
    r"(?i)\b(X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|sig|token"
    r"|aws_secret_access_key|aws_session_token|password|secret)=[^&\s'\"]+"
)
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_SHORTEST_SECRET = 8


def printable(text: str) -> str:
    r"""`text` as a terminal may show it: lines and tabs stay, a control character is spelt out.

    >>> print(printable("a\x1b[31mb\n"), end="")
    a\x1b[31mb
    """
    return _UNPRINTABLE.sub(lambda match: _spelt(match[0]), text)


def is_plain(text: str) -> bool:
    """Whether `text` is one line without control characters, and can be encoded."""
    return not _UNPRINTABLE.search(text) and "\n" not in text and "\t" not in text


def one_line(text: object) -> str:
    """`text` on one line, printable."""
    return printable(" ".join(str(text).split()))


def markdown(text: object) -> str:
    r"""`text` on one line, as Markdown that shows it and does nothing else.

    >>> print(markdown("[x](javascript:1) | <b>"))
    \[x\](javascript:1) \| \<b\>
    """
    line = _MARKDOWN.sub(lambda match: "\\" + match[0], one_line(text))
    return f"\\{line}" if line[:1] in ("-", "+", "=") else line


def json_text(text: str) -> str:
    """A JSON text whose control characters are escapes: the same document, safe on a terminal."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def quoted(text: object) -> str:
    """A YAML string on one line: a JSON string is one, but for control characters in it."""
    return json.dumps(one_line(text), ensure_ascii=False)


def without_credentials(text: str) -> str:
    """`text` with what may be a secret starred out: in an address, a signature, a known value."""
    text = _USER_IN_URL.sub(r"\1***@", text)
    text = _SIGNED.sub(r"\1=***", text)
    for name in _SECRET_VARIABLES:
        secret = os.environ.get(name, "")
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text


def _spelt(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
