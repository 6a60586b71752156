"""The audit chain, read: pages for people, everything in order for an export and for its proof."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlmodel import col, func, select

from controlplane.access.acts import GENESIS
from controlplane.access.audit import Broken, Verdict, first_broken
from controlplane.store.database import Database
from controlplane.tables import AuditEntry, AuditHead

BATCH = 1000
_END = select(AuditHead.sequence).where(AuditHead.id == 1).scalar_subquery()


@dataclass(frozen=True)
class Wanted:
    """Which entries somebody wants to see; None for all."""

    actor: str | None = None
    subject: str | None = None
    action: str | None = None


class Trail(Database):
    """Verbs that read the audit chain."""

    def audit_page(self, asked: Wanted, before: int | None, limit: int) -> Sequence[AuditEntry]:
        """Entries, newest first, from before a sequence number."""
        query = select(AuditEntry).where(AuditEntry.sequence <= _END)
        for name, value in vars(asked).items():
            if value is not None:
                query = query.where(getattr(AuditEntry, name) == value)
        if before is not None:
            query = query.where(AuditEntry.sequence < before)
        with self._reading() as session:
            return session.exec(query.order_by(col(AuditEntry.sequence).desc()).limit(limit)).all()

    def audit_entries(
        self, asked: Wanted | None = None, batch: int = BATCH, end: int | None = None
    ) -> Iterator[AuditEntry]:
        """All entries up to this one, or that are there now, oldest first; read in batches, so that they need not fit
        into memory.
        """
        wanted, last, end = asked or Wanted(), 0, self.audit_head().sequence if end is None else end
        while last < end:
            query = select(AuditEntry).where(AuditEntry.sequence > last, AuditEntry.sequence <= end)
            for name, value in vars(wanted).items():
                if value is not None:
                    query = query.where(getattr(AuditEntry, name) == value)
            with self._reading() as session:
                found = session.exec(query.order_by(col(AuditEntry.sequence)).limit(batch)).all()
            yield from found
            if not found:
                return
            last = found[-1].sequence

    def audit_head(self) -> AuditHead:
        """The end of the chain."""
        with self._reading() as session:
            return session.get(AuditHead, 1) or AuditHead(sequence=0, hash=GENESIS)

    def verify_chain(self) -> Verdict:
        """Walk the whole chain up to its end of now and name the first entry that is not as it was written."""
        head, last = self._head_and_last()
        broken: Broken | None = first_broken(self.audit_entries(end=head.sequence), head.sequence, head.hash)
        if broken is None and last > head.sequence:
            broken = Broken(head.sequence + 1, "it was put behind the end of the chain, not written by it")
        return Verdict(head.sequence, head.hash, broken)

    def _head_and_last(self) -> tuple[AuditHead, int]:
        """The end of the chain and the greatest number of an entry, as of one instant."""
        last = select(func.max(AuditEntry.sequence)).scalar_subquery()
        with self._reading() as session:
            found = session.exec(select(AuditHead, last).where(AuditHead.id == 1)).first()
            if found is not None:
                return found[0], found[1] or 0
            return AuditHead(sequence=0, hash=GENESIS), session.exec(select(last)).one() or 0
