"""Covariates: what a model is told, how a cohort's are distributed, how they are drawn."""

from __future__ import annotations

from ldm.covariates.covariate import Covariate, Row, Value
from ldm.covariates.fitting import column, fit_schema
from ldm.covariates.schema import PAPER_SCHEMA, UNCONDITIONAL, CovariateSchema

__all__ = [
    "PAPER_SCHEMA",
    "UNCONDITIONAL",
    "Covariate",
    "CovariateSchema",
    "Row",
    "Value",
    "column",
    "fit_schema",
]
