"""Windows and what the monitor said of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped
from sqlmodel import Session, and_, col, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from controlplane.store.database import Database
from controlplane.store.reading import table_of
from controlplane.tables import Json, LateEvents, Model, Observation, ScoredWindow
from observability.monitors.case import PastVerdict
from observability.windows import Cursor, Window

LATE: Final = table_of(LateEvents)
#: what an event of the kind `drift` says of a feature
DRIFT_FIELDS: Final = (
    "method", "score", "threshold", "drifted", "missing_share", "reference_missing_share", "unseen_share", "reason",
    "p_value", "effect", "aspect", "overdispersion",
)  # fmt: skip


class Windows(Database):
    """Verbs about windows and the facts that the monitor keeps."""

    def record_window(
        self, window: Window, rows: int, labelled: int, verdict: Json, labels_due_at: datetime, now: datetime
    ) -> bool:
        """Store a new window with its verdict. False where it is there already: a window is cut once."""
        row = ScoredWindow(
            id=window.id, model=window.model, version=window.version, monitor=window.monitor, segment=window.segment,
            spec_digest=window.spec_digest, after_time=window.after.event_time, after_id=window.after.id,
            until_time=window.until.event_time, until_id=window.until.id, rows=rows, labelled=labelled,
            verdict=verdict, cut_at=now, scored_at=now, labels_due_at=labels_due_at,
        )  # fmt: skip
        try:
            with self._writing() as session:
                if session.get(ScoredWindow, window.id) is not None:
                    return False
                self._touch(session, window.model)
                row.change = _changes(session, window.model)
                session.add(row)
                self._tell(session, "verdict", window.model, _told(row), now)
                for drift in _drifts(row):
                    self._tell(session, "drift", window.model, drift, row.until_time)
                return True
        except IntegrityError:
            with self._reading() as session:
                if session.get(ScoredWindow, window.id) is None:
                    raise
            return False  # another monitor was faster

    def rescore_window(
        self,
        window_id: str,
        labelled: int,
        verdict: Json,
        settled: bool,
        now: datetime,
        late_rows: int = 0,
        recount_at: datetime | None = None,
    ) -> None:
        """Replace a window's verdict by a later revision, which knows more labels, and rows that came after the cut.
        The window itself never moves, and once its errors are settled it stays settled since then.
        """
        with self._writing() as session:
            row = session.get_one(ScoredWindow, window_id, with_for_update=True)
            self._count_late(session, row, labelled, late_rows)
            row.verdict, row.labelled, row.scored_at = verdict, labelled, now
            row.revision += 1
            row.recount_at = recount_at
            row.error_at = (row.error_at or now) if settled else None
            row.settled_labels = row.settled_labels if row.settled_labels is not None or not settled else labelled
            self._touch(session, row.model)
            row.change = _changes(session, row.model)
            session.add(row)
            self._tell(session, "verdict", row.model, _told(row), now)

    def count_late(self, window_id: str, labelled: int, late_rows: int, recount_at: datetime | None) -> None:
        """What has come since was counted, and changes nothing of what was said: count again at that time, or never."""
        with self._writing() as session:
            row = session.get_one(ScoredWindow, window_id, with_for_update=True)
            self._count_late(session, row, labelled, late_rows)
            row.recount_at = recount_at
            session.add(row)

    def _count_late(self, session: Session, row: ScoredWindow, labelled: int, late_rows: int) -> None:
        """What was late is late for ever, also where an estimate is lower the next time."""
        rows = max(0, late_rows - row.late_rows)
        labels = 0 if row.settled_labels is None else max(0, labelled - row.settled_labels - row.late_labels)
        row.late_rows += rows
        row.late_labels += labels
        if row.segment or not (rows or labels):
            return  # what is late for a segment is late for the whole window too
        sqlite = session.get_bind().dialect.name == "sqlite"
        insert = (sqlite_insert if sqlite else postgresql_insert)(LATE).values(
            model=row.model, monitor=row.monitor, predictions=rows, labels=labels
        )
        added = {name: LATE.c[name] + insert.excluded[name] for name in ("predictions", "labels")}
        session.execute(insert.on_conflict_do_update(index_elements=["model", "monitor"], set_=added))

    def late_events(self) -> Sequence[LateEvents]:
        """How much came too late, by model and monitor, since the beginning."""
        with self._reading() as session:
            return session.exec(select(LateEvents).order_by(col(LateEvents.model), col(LateEvents.monitor))).all()

    def last_window(self, model_id: str, version: int, monitor: str) -> tuple[Cursor, str] | None:
        """Where the last whole window of a monitor ends, whatever its declaration was, and the digest of that."""
        row = ScoredWindow
        query = select(row.until_time, row.until_id, row.spec_digest).where(
            row.model == model_id, row.version == version, row.monitor == monitor, row.segment == ""
        )
        newest = (col(row.until_time).desc(), col(row.until_id).desc())
        with self._reading() as session:
            last = session.exec(query.order_by(*newest).limit(1)).first()
        return (Cursor(last[0], last[1]), last[2]) if last else None

    def verdicts_before(self, window: Window, most: int) -> Sequence[PastVerdict]:
        """What was said of the windows before this one: of the same version, monitor and segment, the newest first.

        So many, and so many of those whose labels were due: where a horizon is long those lie further back.
        """
        row = ScoredWindow
        ends = (col(row.until_time), col(row.until_id))
        query = select(row).where(
            row.model == window.model, row.version == window.version, row.monitor == window.monitor,
            row.segment == window.segment, row.spec_digest == window.spec_digest,
            or_(ends[0] < window.until.event_time, and_(ends[0] == window.until.event_time, ends[1] < window.until.id)),
        )  # fmt: skip
        query = query.order_by(*(end.desc() for end in ends)).limit(most)
        with self._reading() as session:
            rows = list(session.exec(query).all())
            if len(rows) == most and any(each.error_at is None for each in rows):
                known = {each.id for each in rows}
                due = session.exec(query.where(col(row.error_at).is_not(None))).all()
                rows += [each for each in due if each.id not in known]
        return [
            PastVerdict(row.until_time, row.rows, row.labelled, row.error_at is not None, row.verdict) for row in rows
        ]

    def seen_before(self, model_id: str, version: int, instant: datetime) -> datetime | None:
        """The newest event time that the monitor had seen by an instant, while other versions were in production."""
        seen = Observation
        query = select(seen.watermark).where(
            seen.model == model_id, seen.version != version, seen.observed_at <= instant,
            col(seen.watermark).is_not(None),
        )  # fmt: skip
        with self._reading() as session:
            return session.exec(query.order_by(col(seen.watermark).desc()).limit(1)).first()

    def awaiting_labels(
        self, model_id: str, watermark: datetime, horizon: timedelta, now: datetime, page: int = 20
    ) -> Iterator[ScoredWindow]:
        """Every window whose labels are due and whose error metrics are not settled, oldest first.

        One that had too few labels comes again at its time to look, or when it has waited for another horizon.
        """
        due = col(ScoredWindow.labels_due_at)
        look = col(ScoredWindow.look_at)
        query = select(ScoredWindow).where(
            ScoredWindow.model == model_id, col(ScoredWindow.error_at).is_(None), due <= watermark,
            or_(look.is_(None), look <= now, due <= watermark - horizon),
        )  # fmt: skip
        return self._each(query, due, lambda row: row.labels_due_at, page)

    def awaiting_recount(self, model_id: str, watermark: datetime, page: int = 20) -> Iterator[ScoredWindow]:
        """Every settled window whose labels are to be counted again, those first that wait for it longest."""
        due = col(ScoredWindow.recount_at)
        query = select(ScoredWindow).where(ScoredWindow.model == model_id, due.is_not(None), due <= watermark)
        return self._each(query, due, lambda row: row.recount_at, page)

    def _each(
        self,
        query: SelectOfScalar[ScoredWindow],
        due: Mapped[Any],
        due_of: Callable[[ScoredWindow], datetime | None],
        page: int,
    ) -> Iterator[ScoredWindow]:
        """The rows by when they are due, read in pages: what is done with one moves no other."""
        behind, key = query, col(ScoredWindow.id)
        while True:
            with self._reading() as session:
                rows = session.exec(behind.order_by(due, key).limit(page)).all()
            after = (due_of(rows[-1]), rows[-1].id) if rows else None
            yield from rows
            if len(rows) < page or after is None:
                return
            behind = query.where(or_(due > after[0], and_(due == after[0], key > after[1])))

    def look_later(self, window_id: str, look_at: datetime) -> None:
        """There were too few labels of this window: leave it alone until then."""
        with self._writing() as session:
            row = session.get_one(ScoredWindow, window_id, with_for_update=True)
            row.look_at = look_at
            session.add(row)

    def windows(
        self, model_id: str, limit: int = 100, monitor: str | None = None, segment: str = ""
    ) -> Sequence[ScoredWindow]:
        """A model's whole windows, or those of a segment, newest first by when they end."""
        with self._reading() as session:
            query = select(ScoredWindow).where(ScoredWindow.model == model_id, ScoredWindow.segment == segment)
            if monitor is not None:
                query = query.where(ScoredWindow.monitor == monitor)
            newest = (col(ScoredWindow.until_time).desc(), col(ScoredWindow.until_id).desc())
            return session.exec(query.order_by(*newest).limit(limit)).all()

    def observe(self, model_id: str, version: int, watermark: datetime, labelled_new: int, now: datetime) -> None:
        """Remember the newest facts about a version."""
        with self._writing() as session:
            before = session.get(Observation, (model_id, version))
            if before is None or before.labelled_new != labelled_new:
                self._touch(session, model_id)
            row = Observation(
                model=model_id, version=version, watermark=watermark, labelled_new=labelled_new, observed_at=now
            )
            self._put(session, row)

    def observation(self, model_id: str, version: int) -> Observation | None:
        """What the monitor last saw of a version."""
        with self._reading() as session:
            return session.get(Observation, (model_id, version))


def _changes(session: Session, model_id: str) -> int:
    """Which change of the model this transaction is, after it has touched it: nobody else counts until it ends."""
    return session.exec(select(Model.changes).where(Model.id == model_id)).one()


def _told(row: ScoredWindow) -> Json:
    return {
        "window": row.id, "version": row.version, "monitor": row.monitor, "segment": row.segment,
        "revision": row.revision, "after": row.after_time.isoformat(), "until": row.until_time.isoformat(),
        "rows": row.rows, "late_rows": row.late_rows, "labelled": row.labelled, "late_labels": row.late_labels,
        "verdict": row.verdict,
    }  # fmt: skip


def _drifts(row: ScoredWindow) -> Iterator[Json]:
    """One for each feature, so that whoever draws drift over time need not take a verdict apart."""
    window = {
        "window": row.id, "version": row.version, "monitor": row.monitor, "segment": row.segment,
        "after": row.after_time.isoformat(), "until": row.until_time.isoformat(),
        "revision": row.revision, "rows": row.rows, "sampled": row.verdict.get("sampled"),
    }  # fmt: skip
    for feature, said in (row.verdict.get("features") or {}).items():
        yield {**window, "feature": feature, **{name: said.get(name) for name in DRIFT_FIELDS}}
