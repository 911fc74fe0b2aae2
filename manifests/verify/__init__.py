"""Checking a release: everything is read again from storage, and nothing else is trusted."""

from __future__ import annotations

from manifests.verify.findings import Finding, Report
from manifests.verify.release import open_to_verify, verify

__all__ = ["Finding", "Report", "open_to_verify", "verify"]
