"""Reading a release: its document, and the rows of its manifest that match a filter."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from manifests.changes.seen import Seen, look_at
from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.document import ReleaseDocument
from manifests.format.json_text import MOST_JSON_BYTES
from manifests.format.layout import MANIFEST_KEY, MEASURED_KEY, RELEASE_KEY, SAMPLES_KEY
from manifests.format.measured import beside, figures_of, measured_schema, same_measures
from manifests.format.release_json import check_release, read_release
from manifests.format.segmentation.layout import REGIONS_KEY
from manifests.format.segmentation.table import regions_schema, same_regions, volumes_of
from manifests.query.filter import Filter
from manifests.query.rows import StoredRows, stored_rows
from manifests.query.versions import open_version, version_file
from manifests.query.where import find_column
from manifests.storage import open_store
from manifests.storage.base import Store

MOST_PICTURE_BYTES = 10_000_000


class Release:
    """A finished release, opened for reading.

        release = Release.open("s3://bucket/release")
        table = release.query("age > 70 and sex = 'F'", columns=["participant_id", "age"])
        table.to_pandas()

    Attributes:
        store: where it lies.
        about: the content of its release.json.
        document: the part of it that tells how the release was made.
    """

    def __init__(self, store: Store, about: dict[str, Any]) -> None:
        self.store = store
        self.about = about
        self._seen: Seen | None = None
        check_release(about, store.uri)
        try:
            self.document = ReleaseDocument.from_json(about)
        except ReleaseError as error:
            line = f"{store.uri}: release.json is damaged ({error})"
            raise ReleaseError(line, exit_code=1) from error

    @classmethod
    def open(
        cls,
        uri: str | Path,
        *,
        version: str | None = None,
        expect: str | None = None,
        endpoint_url: str | None = None,
        anonymous: bool = False,
        as_it_was: bool = False,
    ) -> Release:
        """The release at a folder, s3://bucket/prefix, or a public address.

        Args:
            uri, endpoint_url, anonymous: as of `manifests.storage.open_store`.
            version: an earlier one that was published, such as "1.0.0"; what lies there where
                None. Samples withdrawn since are withdrawn in every version.
            expect: the SHA-256 of release.json, as its publisher tells it.
            as_it_was: of a version, with the rows of samples that were withdrawn since.

        Raises:
            ReleaseError: there is none, it cannot be read, or it is not the one expected; why, and
                what to do.
        """
        store = open_store(uri, endpoint_url=endpoint_url, anonymous=anonymous)
        return cls.at(store, version=version, expect=expect, as_it_was=as_it_was)

    @classmethod
    def at(
        cls,
        store: Store,
        *,
        version: str | None = None,
        expect: str | None = None,
        as_it_was: bool = False,
    ) -> Release:
        """The release in a store, as of `open`."""
        seen = look_at(store)
        if version is None:
            release = cls(seen.store, read_release(seen.store, seen.release_json, expect=expect))
        else:
            about = read_release(seen.store, seen.release_json)
            try:
                opened = open_version(
                    seen.store, about, version, expect=expect, as_it_was=as_it_was
                )
                release = cls(*opened)
            except ReleaseError:
                seen.confirm()  # a withdrawal changes what is kept of a version
                raise
        release._seen = seen
        return release

    @property
    def place(self) -> Store:
        """Where it lies; `store` may show a change of it that is not in its place yet."""
        return self._seen.place if self._seen else self.store

    def confirm(self) -> None:
        """Raise ChangedError where another release lies there by now than was opened.

        What was opened before this, and read after it, is of the release that was opened.
        """
        if self._seen is not None:
            self._seen.confirm()

    def __repr__(self) -> str:
        """What it is, in a few lines; nothing is fetched."""
        document, count = self.document, self.about["counts"]["samples"]
        lines = [f"{document.name}: {count:,} samples, {document.license}, at {self.store.uri}"]
        width = max((len(column.name) for column in document.columns), default=0)
        lines += [
            f"{column.name:{width}}  {column.unit:4}  {column.description}".rstrip()
            for column in document.columns
        ]
        return "\n".join([*lines, "release.query(limit=5).to_pandas()"])

    def _repr_html_(self) -> str:
        """In a notebook: the same, above the picture of its first samples."""
        told = f"<pre>{html.escape(repr(self))}</pre>"
        try:
            png = base64.b64encode(self.store.get(SAMPLES_KEY, most=MOST_PICTURE_BYTES)).decode()
        except (KeyError, ReleaseError):  # a release without a picture is shown without
            return told
        return f"{told}<img alt='some of its samples' src='data:image/png;base64,{png}'>"

    @property
    def digest(self) -> str:
        """The SHA-256 of its release.json, by which it is told from any other."""
        version = self.about.get("opened_version")
        key = version_file(version, RELEASE_KEY) if version else RELEASE_KEY
        data = self.store.get(key, most=MOST_JSON_BYTES)
        self.confirm()
        return sha256(data)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the manifest; units and meanings are in its fields' metadata."""
        return self.document.schema

    def query(
        self,
        where: str | None = None,
        *,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> pa.Table:
        """Rows of the manifest in order of their index; only what is asked for is fetched.

        What was measured on the images of an evaluated release (`measured_age`, ...), and the
        volumes of a segmented one (`volume_left_hippocampus`, ...), may be asked for and filtered
        by as well; null where there are none.

        Args:
            where: a filter, in the language of `manifests.query.where_tokens.GRAMMAR`.
            columns: which, and in what order; all of the manifest where None.
            limit: at most so many rows.

        Raises:
            ReleaseError: a filter or a column that cannot be understood.
        """
        names, known = self.schema.names, self.known_columns
        if columns is not None:
            names = list(dict.fromkeys(find_column(name, known) for name in columns))
        if limit is not None and limit < 0:
            raise ReleaseError(f"limit {limit}: expected 0 or more")
        with ExitStack() as stack:
            chosen = None if where is None else stack.enter_context(Filter(where, known))
            needed = list(dict.fromkeys([*names, *(chosen.columns if chosen else ())]))
            if not set(needed) <= set(self.schema.names):
                return self._joined(needed, chosen).select(names).slice(0, limit)
            rows = stack.enter_context(self._rows())
            return rows.table(names, chosen, limit=limit)

    @property
    def known_columns(self) -> pa.Schema:
        """The columns of the manifest, what was measured, and the volumes of regions."""
        schema = self.schema
        for more, names in self._figures:
            for name in names:
                if name not in schema.names:
                    schema = schema.append(more.field(name))
        return schema

    @property
    def _figures(self) -> list[tuple[pa.Schema, list[str]]]:
        """The tables beside the manifest: their columns, and the figures among these."""
        found = []
        if self.is_measured:
            found.append((measured_schema(), figures_of(measured_schema())))
        if self.is_segmented:
            found.append((self.regions_schema, volumes_of(self.regions_schema)))
        return found

    def _joined(self, names: Sequence[str], where: Filter | None) -> pa.Table:
        """Those columns of the rows that satisfy `where`, some of them of other tables."""
        own = set(self.schema.names)
        with self._rows() as manifest:
            rows = manifest.table(list(dict.fromkeys(["index", *filter(own.__contains__, names)])))
        figures = [name for name in names if name not in own]
        if measured := [name for name in figures if name in figures_of(measured_schema())]:
            rows = beside(rows, self.measured(columns=["index", *measured]), measured)
        if volumes := [name for name in figures if name not in measured]:
            rows = beside(rows, self.regions(columns=["index", *volumes]), volumes)
        return rows if where is None else where.apply(rows)

    @property
    def is_measured(self) -> bool:
        """Whether it has a table of what was measured on its images."""
        return MEASURED_KEY in self.about["files"]

    def measured(self, *, columns: Sequence[str] | None = None) -> pa.Table:
        """What was measured on each image, in order of the index; only those columns are fetched.

            release.measured(columns=["index", "measured_age"]).to_pandas()

        Its columns, their units and meanings are those of `manifests.format.measured`.

        Raises:
            ReleaseError: the release was published without an evaluation, or has no such column.
        """
        if not self.is_measured:
            raise ReleaseError(
                f"{self.store.uri} has no {MEASURED_KEY}: it was not published with an evaluation"
                " (`brainpress evaluate`, then `brainpress publish --evaluation`)"
            )
        schema = measured_schema()
        names = schema.names
        if columns is not None:
            names = list(dict.fromkeys(find_column(name, schema) for name in columns))
        with ExitStack() as stack:
            return self._measured_rows(stack).table(names)

    @property
    def is_segmented(self) -> bool:
        """Whether it has label maps, and a table of them."""
        return self.document.segmentation is not None and REGIONS_KEY in self.about["files"]

    @property
    def regions_schema(self) -> pa.Schema:
        """The Arrow schema of `regions`; units and meanings are in its fields' metadata.

        Raises:
            ReleaseError: it has no label maps.
        """
        if self.document.segmentation is None or not self.is_segmented:
            raise ReleaseError(
                f"{self.store.uri} has no label maps: whoever may change it makes them"
                " (`brainpress segment`)"
            )
        return regions_schema(self.document.segmentation)

    def regions(self, *, columns: Sequence[str] | None = None) -> pa.Table:
        """The label map of each image and the volumes of its regions, in order of the index.

            release.regions(columns=["index", "volume_left_hippocampus"]).to_pandas()

        Only those columns are fetched; what they mean, `manifests.format.segmentation.table` says.

        Raises:
            ReleaseError: it has no label maps, or no such column.
        """
        schema = self.regions_schema
        names = schema.names
        if columns is not None:
            names = list(dict.fromkeys(find_column(name, schema) for name in columns))
        with ExitStack() as stack:
            return self._regions_rows(stack).table(names)

    def sql(self, text: str, *, limit: int | None = None) -> pa.Table:
        """The result of a SELECT over the table `manifest`; only what it needs is fetched.

            release.sql("SELECT sex, count(*), avg(age) FROM manifest GROUP BY sex")

        Where the release was evaluated, the table `measured` joins it by `index`; where it has
        label maps, `regions` does.

        DuckDB runs it, with no way to any other file, and in one thread, so that the same text
        gives the same rows.

        Args:
            text: one statement that reads.
            limit: at most so many rows of the result; the rest is not computed.

        Raises:
            ReleaseError: SQL that is wrong, or that does more than read the manifest.
        """
        from manifests.query.sql import run_sql

        with ExitStack() as stack:
            manifest = stack.enter_context(self._rows())
            tables = {"manifest": (manifest.schema, lambda: manifest)}
            if self.is_measured:
                opened = partial(self._measured_rows, stack)
                tables["measured"] = (measured_schema(), opened)
            if self.is_segmented:
                opened = partial(self._regions_rows, stack)
                tables["regions"] = (self.regions_schema, opened)
            return run_sql(tables, text, limit=limit)

    def _measured_rows(self, stack: ExitStack) -> StoredRows:
        return self._rows_beside(stack, MEASURED_KEY, same_measures)

    def _regions_rows(self, stack: ExitStack) -> StoredRows:
        told = self.document.segmentation
        assert told is not None
        return self._rows_beside(stack, REGIONS_KEY, lambda found: same_regions(found, told))

    def _rows_beside(
        self, stack: ExitStack, key: str, fits: Callable[[pa.Schema], bool]
    ) -> StoredRows:
        """The rows of a table beside the manifest, whose columns are as they should be."""
        try:
            rows = stack.enter_context(self._stored(key))
        except KeyError:
            line = f"{self.store.uri}: {key} is missing; see `brainpress verify`"
            raise ReleaseError(line, exit_code=1) from None
        if not fits(rows.schema):
            raise ReleaseError(
                f"{self.store.uri}: the columns of {key} are not those of this version"
                " of brainpress; see `brainpress verify`",
                exit_code=1,
            )
        return rows

    @contextmanager
    def _stored(self, key: str) -> Iterator[StoredRows]:
        """The rows of one of its files, which is opened as it belongs to this release."""
        with ExitStack() as stack:
            try:
                rows = stack.enter_context(stored_rows(self.store, key))
            finally:
                self.confirm()
            yield rows

    @contextmanager
    def _rows(self) -> Iterator[StoredRows]:
        """The rows of the manifest, whose columns are those that release.json tells of."""
        try:
            with self._stored(MANIFEST_KEY) as rows:
                if not rows.schema.equals(self.schema):
                    raise ReleaseError(
                        f"{self.store.uri}: the columns of {MANIFEST_KEY} are not those of"
                        " release.json; see `brainpress verify`",
                        exit_code=1,
                    )
                yield rows
        except KeyError:
            line = f"{self.store.uri}: {MANIFEST_KEY} is missing; see `brainpress verify`"
            raise ReleaseError(line, exit_code=1) from None
