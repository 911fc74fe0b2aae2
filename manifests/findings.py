"""What `verify` finds wrong with a release."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from manifests.verify_codes import CODES

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        severity: an error makes the release unfit; a warning is worth a look.
        code: of the kind of thing, stable for scripts; one of `verify_codes.CODES`.
        key: what it is about.
    """

    severity: Severity
    code: str
    key: str
    text: str

    def __post_init__(self) -> None:
        assert self.code in CODES, self.code


@dataclass(kw_only=True)
class Report:
    """What was checked and what was found.

    Attributes:
        samples: rows of the manifest.
        images, image_bytes: read and checked, and what they should have.
        not_read: images that a sample left out; of them only presence and size are known.
    """

    uri: str
    samples: int = 0
    images: int = 0
    image_bytes: int = 0
    not_read: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)

    def error(self, code: str, key: str, text: str) -> None:
        self.findings.append(Finding("error", code, key, text))

    def warning(self, code: str, key: str, text: str) -> None:
        self.findings.append(Finding("warning", code, key, text))

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "uri": self.uri,
            "samples": self.samples,
            "images": self.images,
            "image_bytes": self.image_bytes,
            "not_read": self.not_read,
            "findings": [asdict(finding) for finding in self.findings],
        }
