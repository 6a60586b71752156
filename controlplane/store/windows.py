"""Windows and what the monitor said of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, and_, col, or_, select

from controlplane.store.database import Database
from controlplane.tables import Json, Model, Observation, ScoredWindow
from observability.windows import Cursor, Window


class Windows(Database):
    """Verbs about windows and the facts that the monitor keeps."""

    def record_window(
        self, window: Window, rows: int, labelled: int, verdict: Json, labels_due_at: datetime, now: datetime
    ) -> bool:
        """Store a new window with its verdict. False where it is there already: a window is cut once."""
        row = ScoredWindow(
            id=window.id, model=window.model, version=window.version, monitor=window.monitor,
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
                return True
        except IntegrityError:
            with self._reading() as session:
                if session.get(ScoredWindow, window.id) is None:
                    raise
            return False  # another monitor was faster

    def rescore_window(
        self, window_id: str, labelled: int, verdict: Json, settled: bool, now: datetime, late_rows: int = 0
    ) -> None:
        """Replace a window's verdict by a later revision, which knows more labels, and rows that came after the cut.
        The window itself never moves.
        """
        with self._writing() as session:
            row = session.get_one(ScoredWindow, window_id, with_for_update=True)
            row.verdict, row.labelled, row.scored_at = verdict, labelled, now
            row.revision += 1
            row.late_rows = late_rows
            row.error_at = now if settled else None
            self._touch(session, row.model)
            row.change = _changes(session, row.model)
            session.add(row)
            self._tell(session, "verdict", row.model, _told(row), now)

    def last_until(self, model_id: str, version: int, monitor: str, spec_digest: str) -> Cursor | None:
        """Where the last window of this sequence ends."""
        with self._reading() as session:
            query = select(ScoredWindow.until_time, ScoredWindow.until_id).where(
                ScoredWindow.model == model_id, ScoredWindow.version == version,
                ScoredWindow.monitor == monitor, ScoredWindow.spec_digest == spec_digest,
            )  # fmt: skip
            newest = (col(ScoredWindow.until_time).desc(), col(ScoredWindow.until_id).desc())
            last = session.exec(query.order_by(*newest)).first()
            return Cursor(*last) if last else None

    def awaiting_labels(
        self, model_id: str, watermark: datetime, horizon: timedelta, now: datetime, page: int = 20
    ) -> Iterator[ScoredWindow]:
        """Every window whose labels are due and whose error metrics are not settled, oldest first.

        One that had too few labels comes again at its time to look, or when it has waited for another horizon.
        """
        due, key = col(ScoredWindow.labels_due_at), col(ScoredWindow.id)
        look = col(ScoredWindow.look_at)
        query = select(ScoredWindow).where(
            ScoredWindow.model == model_id, col(ScoredWindow.error_at).is_(None), due <= watermark,
            or_(look.is_(None), look <= now, due <= watermark - horizon),
        )  # fmt: skip
        behind = query
        while True:
            with self._reading() as session:
                rows = session.exec(behind.order_by(due, key).limit(page)).all()
            yield from rows
            if len(rows) < page:
                return
            last = rows[-1]
            behind = query.where(or_(due > last.labels_due_at, and_(due == last.labels_due_at, key > last.id)))

    def look_later(self, window_id: str, look_at: datetime) -> None:
        """There were too few labels of this window: leave it alone until then."""
        with self._writing() as session:
            row = session.get_one(ScoredWindow, window_id, with_for_update=True)
            row.look_at = look_at
            session.add(row)

    def windows(self, model_id: str, limit: int = 100, monitor: str | None = None) -> Sequence[ScoredWindow]:
        """A model's windows, newest first by when they end."""
        with self._reading() as session:
            query = select(ScoredWindow).where(ScoredWindow.model == model_id)
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
        "window": row.id, "version": row.version, "monitor": row.monitor, "revision": row.revision,
        "after": row.after_time.isoformat(), "until": row.until_time.isoformat(),
        "rows": row.rows, "late_rows": row.late_rows, "labelled": row.labelled, "verdict": row.verdict,
    }  # fmt: skip
