"""One measurement of writing to Elasticsearch, in a process of its own.

`python -m bench.logs_stage.shipping shipper|parallel_bulk URL NAMESPACE FOLDER COUNT` prints one JSON object. The same
documents either way: from a spool by the shipper, or from memory by the official client's own helper.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from pathlib import Path
from typing import Any, Final

import orjson
from elasticsearch import Elasticsearch, helpers

from observability.elastic.streams import stream_of
from observability.events import line_of
from observability.logstores import open_log_store
from observability.settings import Settings
from observability.spool.dead_letters import DeadLetters
from observability.spool.ledger import ledger
from observability.spool.reader import SpoolReader
from observability.spool.shipper import Shipper
from observability.spool.writer import SpoolWriter
from tests.event_samples import prediction

#: calls beside each other, the shipper's too
THREADS: Final = 2
_WORDS: Final = ("stay", "safe", "vaccine", "news", "today", "people", "health", "read", "covid", "open", "@someone")


def lines(count: int, seed: int) -> list[bytes]:
    """Predictions of a model with eight features, about a kilobyte each; no two of any seeds have the same id."""
    rng = random.Random(seed)
    return [line_of(prediction(number / 50, raw=_raw(rng), features=_features(rng))) for number in range(count)]


def _raw(rng: random.Random) -> dict[str, Any]:
    return {
        "text": " ".join(rng.choices(_WORDS, k=25)), "user_name": f"{rng.getrandbits(64):016x}",
        "user_followers": rng.randrange(10**6), "user_friends": rng.randrange(10**4), "is_retweet": False,
    }  # fmt: skip


def _features(rng: random.Random) -> dict[str, Any]:
    numeric = {f"feature_{number}": rng.gauss(0, 1) for number in range(6)}
    return {**numeric, "place": rng.choice(("Paris", "London", "Rome", None)), "hour": rng.randrange(24)}


def shipper(url: str, namespace: str, folder: Path, made: list[bytes]) -> float:
    """Events a second from the spool to Elasticsearch, all of them accounted for."""
    settings = Settings(store="elasticsearch", elasticsearch_urls=(url,), namespace=namespace)
    store = open_log_store(folder / "logs", settings)
    store.append([prediction(0)])  # templates are set up before the clock runs
    reader = SpoolReader(folder / "spool")  # as it runs beside serving: it knows that nothing was offered before
    with SpoolWriter(folder / "spool" / "serving-0") as writer:
        for start in range(0, len(made), 100):
            writer.write(made[start : start + 100])
    shipping = Shipper(reader, store, DeadLetters(folder / "dead"))
    begun = time.perf_counter()
    while shipping.ship_once().lines:
        pass
    elapsed = time.perf_counter() - begun
    book = ledger(folder / "spool")
    assert (book.indexed, book.waiting, book.unaccounted) == (len(made), 0, 0)
    return len(made) / elapsed


def parallel_bulk(url: str, namespace: str, _folder: Path, made: list[bytes]) -> float:
    """Events a second by the client's helper, into the same data stream."""
    documents = [orjson.loads(line) for line in made]
    client, stream = Elasticsearch(url, request_timeout=60), stream_of("prediction", namespace)
    actions = (
        {"_op_type": "create", "_index": stream, "_id": each["event"]["id"], "_source": each} for each in documents
    )
    begun = time.perf_counter()
    stored = sum(ok for ok, _ in helpers.parallel_bulk(client, actions, thread_count=THREADS))
    elapsed = time.perf_counter() - begun
    assert stored == len(made)
    return len(made) / elapsed


def main() -> None:
    who, url, namespace, folder, count = sys.argv[1:6]
    made = lines(int(count), time.time_ns())
    gc.collect()
    gc.freeze()
    measured = {"shipper": shipper, "parallel_bulk": parallel_bulk}[who](url, namespace, Path(folder), made)
    sys.stdout.write(json.dumps({"per_second": measured, "bytes": sum(map(len, made)) / len(made)}) + "\n")


if __name__ == "__main__":
    main()
