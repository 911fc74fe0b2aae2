"""What `verify` finds wrong with a release."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        severity: an error makes the release unfit; a warning is worth a look.
        code: of the kind of thing, stable for scripts.
        key: what it is about.
    """

    severity: Severity
    code: str
    key: str
    text: str


@dataclass(kw_only=True)
class Report:
    """What was checked and what was found."""

    uri: str
    samples: int = 0
    images: int = 0
    image_bytes: int = 0
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
            "findings": [asdict(finding) for finding in self.findings],
        }
