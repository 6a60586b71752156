"""Pulls the desired state and brings what is loaded to it: level by level, so a missed change costs nothing.

One thread does it, apart from the one that answers, so loading stalls no request.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from typing import Any, Final

from bundle.blobs import BlobStore
from serving.access import Access
from serving.desired import DesiredCache, DesiredState, Wanted
from serving.errors import ControlUnavailable, VersionUnusable
from serving.fetch import ControlPlane, fetch_version
from serving.first_load import Trial
from serving.isolation import Isolation
from serving.proving import load_proven
from serving.settings import Settings
from serving.slots import Loaded, Shelf, Slots
from serving.standalone import adopt

#: as many characters of a reason as the control plane takes
LONGEST_REASON: Final = 2_000
_log = logging.getLogger("bentoml.driftgate.serving")


class Poller(threading.Thread):
    """Keeps `slots` and `access` as the control plane wants them. Other threads read these two references."""

    def __init__(self, settings: Settings, control: ControlPlane) -> None:
        super().__init__(name="serving-poller", daemon=True)
        cache = settings.folders.serving_cache
        self.slots = Slots()
        self.access = Access(())
        #: all that is loaded, and what could not be, as last reported
        self.loaded: list[Wanted] = []
        self.failed: list[tuple[Wanted, str]] = []
        #: when the control plane last answered, on the monotonic clock; at first, when this began
        self.answered_at = time.monotonic()
        self._settings = settings
        self._control = control
        self._cache = DesiredCache(cache / "desired.json")
        self._blobs = BlobStore(cache / "blobs")
        if settings.version_folder is not None:
            adopt(settings.version_folder, self._blobs, self._cache, settings.token.get_secret_value())
        self._trial = Trial(cache / "blobs", cache / "proven")
        self._shelf = Shelf(settings.keep_previous.total_seconds())
        self._desired: DesiredState | None = None
        self._failures = Failures(settings.poll_seconds, settings.longest_wait_seconds)
        self._reports = Reports(control, settings.report_seconds)
        self._stopping = threading.Event()

    @property
    def ready(self) -> bool:
        """Whether it is known what should answer, and all of it does."""
        return self._desired is not None and self.slots.ready

    @property
    def isolation(self) -> Isolation | None:
        """What a version's first load was kept from, and by which means; None before the first load."""
        return self._trial.isolation

    def run(self) -> None:
        wait = self._settings.poll_seconds
        while not self._stopping.is_set():
            answered = self.step(time.monotonic())
            wait = self._settings.poll_seconds if answered else min(wait * 2, self._settings.longest_wait_seconds)
            self._stopping.wait(wait)

    def stop(self) -> None:
        """End the thread. A load under way is given up with the process."""
        self._stopping.set()
        self.join(timeout=2)
        self._control.close()

    def step(self, now: float) -> bool:
        """Pull, load, swap, report, once. Says whether the control plane answered."""
        answered = self._pull()
        if self._desired is not None:
            self._load_missing(self._desired, now)
            in_service = {slot.production.wanted for slot in self.slots.serving.values()}
            self._shelf.let_go({*self._desired.wanted(), *in_service}, now)
            self.loaded, self.failed = list(self._shelf), self._failures.among(self._desired)
            self._reports.send(self.loaded, self.failed, now)
        return answered

    def _pull(self) -> bool:
        try:
            desired = self._control.desired()
        except ControlUnavailable as error:
            _log.warning("the control plane does not answer, what is loaded goes on: %s", error)
            if self._desired is None and (saved := self._cache.load()) is not None:
                _log.warning("starting from the desired state saved last")
                self._adopt(saved)
            return False
        self.answered_at = time.monotonic()
        if desired is not None:
            self._adopt(desired)
            self._remember(desired)
        return True

    def _remember(self, desired: DesiredState) -> None:
        try:
            self._cache.save(desired)
        except OSError as error:
            _log.warning("the desired state is not saved, a restart will need the control plane: %s", error)

    def _adopt(self, desired: DesiredState) -> None:
        self.slots = self._shelf.arrange(desired, self.slots)  # first: readiness must know what is expected
        self._desired = desired
        self.access = Access(desired.tokens)

    def _load_missing(self, desired: DesiredState, now: float) -> None:
        for wanted in desired.wanted():
            if wanted in self._shelf or not self._failures.may_try(wanted, now):
                continue
            try:
                self._shelf.add(self._load(wanted))
            except VersionUnusable as error:
                _log.error("%s version %d cannot be loaded: %s", wanted.model, wanted.version, error)
                self._failures.record(wanted, str(error), now)
            except (ControlUnavailable, OSError) as error:
                _log.warning("%s version %d is not loaded yet: %s", wanted.model, wanted.version, error)
                self._failures.put_off(wanted, now)
            else:
                self._failures.forget(wanted)
                self.slots = self._shelf.arrange(desired, self.slots)

    def _load(self, wanted: Wanted) -> Loaded:
        fetch_version(self._control, self._blobs, wanted.manifest)
        self._trial.run(wanted.manifest)
        scorer = load_proven(self._blobs, wanted.manifest)
        if scorer.signature.model != wanted.model:
            raise VersionUnusable(f"the version's bytes are of model {scorer.signature.model}")
        gc.freeze()  # what a version made stays; collections need not walk it
        _log.info("%s version %d is loaded", wanted.model, wanted.version)
        return Loaded(wanted, scorer)


class Failures:
    """Versions that could not be loaded, and when to try again: later each time.

    One that is unusable has a reason, and the control plane acts on it for good. One whose bytes did not
    come, or found no place on the disk, has none: the version is not to blame.
    """

    def __init__(self, first_wait: float, longest_wait: float) -> None:
        self._first, self._longest = first_wait, longest_wait
        self._known: dict[Wanted, tuple[str | None, float, float]] = {}

    def may_try(self, wanted: Wanted, now: float) -> bool:
        return wanted not in self._known or now >= self._known[wanted][2]

    def record(self, wanted: Wanted, reason: str, now: float) -> None:
        """The version is unusable."""
        self._wait(wanted, reason, now)

    def put_off(self, wanted: Wanted, now: float) -> None:
        """Nothing new is known of the version: what was said of it before still holds."""
        self._wait(wanted, self._known[wanted][0] if wanted in self._known else None, now)

    def _wait(self, wanted: Wanted, reason: str | None, now: float) -> None:
        wait = min(self._known[wanted][1] * 2, self._longest) if wanted in self._known else self._first
        self._known[wanted] = (reason, wait, now + wait)

    def forget(self, wanted: Wanted) -> None:
        self._known.pop(wanted, None)

    def among(self, desired: DesiredState) -> list[tuple[Wanted, str]]:
        """The unusable versions that are still wanted, with the reason; what is not wanted is forgotten."""
        still = set(desired.wanted())
        self._known = {wanted: entry for wanted, entry in self._known.items() if wanted in still}
        return sorted((wanted, reason) for wanted, (reason, _, _) in self._known.items() if reason is not None)


class Reports:
    """Tells the control plane what is loaded: when it changed, and every few seconds."""

    def __init__(self, control: ControlPlane, every_seconds: float) -> None:
        self._control = control
        self._every = every_seconds
        self._last: Any = None
        self._sent_at = float("-inf")

    def send(self, loaded: list[Wanted], failed: list[tuple[Wanted, str]], now: float) -> None:
        if (loaded, failed) == self._last and now - self._sent_at < self._every:
            return
        try:
            self._control.report(
                [wanted._asdict() for wanted in loaded],
                [{"model": w.model, "version": w.version, "reason": _told(reason)} for w, reason in failed],
            )
        except ControlUnavailable as error:
            _log.warning("the report was not taken, it will be sent again: %s", error)
        else:
            self._last, self._sent_at = (loaded, failed), now


def _told(reason: str) -> str:
    """The reason as the control plane takes it: one it refuses would keep the whole report from it."""
    sendable = reason.encode("utf-8", "replace").decode()
    return sendable if len(sendable) <= LONGEST_REASON else sendable[: LONGEST_REASON - 1] + "…"


def frozen_heap() -> None:
    """Collect once, then keep what a started process holds out of collections, and collect less often.

    BentoML's heap is large: a full collection over it stalls every request for about 80 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
