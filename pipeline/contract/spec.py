"""ModelSpec: the one description of a model that a user writes."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, FiniteFloat, model_validator

from bundle.signature import ColumnName, Feature, Frozen, ModelId, RawField, Signature, Task
from observability.durations import Duration
from observability.monitors.drift.budget import level_of
from observability.monitors.settings import FalseAlarms
from observability.windows import SlidingWindows
from pipeline.contract.monitorspec import Monitor
from pipeline.contract.promotionspec import Gate, RolloutPlan
from pipeline.contract.rulespec import METRICS_OF, Budget, DriftRule, MetricRule, NoveltyRule, Rule, WorthRule

Engine = Literal["spark", "sklearn"]


def _entry_point(value: str) -> str:
    file, _, function = value.partition(":")
    if not file.endswith(".py") or "/" in file or "\\" in file or not function.isidentifier():
        raise ValueError(f"{value!r} is not an entry point: write file.py:function, the file beside the spec")
    return value


EntryPoint = Annotated[str, AfterValidator(_entry_point)]
#: as Prometheus takes it
LabelName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]


class Source(Frozen):
    """Where rows come from before they are served: files with these columns."""

    format: Literal["csv"] = "csv"
    #: a column that is unique for each row; a row that comes again under its id is a duplicate
    id: ColumnName
    #: a column with the time of the event
    time: ColumnName


class LabelColumn(Frozen):
    """A column that holds the truth: as 0/1 or true/false, or as a number to compare."""

    column: ColumnName
    #: 1 where the number is above this; without it the column holds 0/1 or true/false
    above: FiniteFloat | None = None


class Label(Frozen):
    """What is predicted, and how long after the event its truth is known."""

    #: its name in listings and in the training columns
    name: ColumnName
    #: how long after the event the truth is known
    horizon: Duration
    #: the first of these that a file has is used
    sources: tuple[LabelColumn, ...] = Field(alias="from", min_length=1)


class Entry(Frozen):
    """The user's code. The feature function is shipped inside every version; the pipeline function trains it."""

    #: file.py:function, raw columns to feature columns
    features: EntryPoint
    #: file.py:function, the signature to an unfitted pipeline
    pipeline: EntryPoint


class Training(Frozen):
    """Which rows a run learns from."""

    #: the latest rows before the cut-off, at most
    rows: int = Field(default=50_000, ge=100)
    #: share of them, the last in time, that is held out to evaluate and to gate
    holdout: FiniteFloat = Field(default=0.2, gt=0, lt=0.9)
    #: fewer labelled rows before the cut-off make no version
    min_rows: int = Field(default=200, ge=50)
    #: a run that takes longer is ended and has failed
    deadline: Duration = timedelta(hours=6)


class WatchedOnly(ValueError):
    """A model that is made elsewhere has no recipe from which it could be trained here."""

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} is only watched here: its spec has no entry, from which it could be trained")


class ModelSpec(Frozen):
    """A model: what goes in, what is learned, how it is watched, when it is retrained, what proves it better."""

    #: namespace/slug, such as default/tweets
    model: ModelId
    #: what kind of answer: binary is the probability of class 1, regression a number
    task: Task
    #: one sentence for people
    description: str = ""
    #: whose model it is
    team: str
    #: who is told when the data, not the model, is broken
    data_owner: str
    #: spark for Spark ML; sklearn where the data fits one process
    engine: Engine = "spark"
    #: the files that history comes from
    source: Source
    #: the fields of a request and of a source file; what is not declared is dropped
    raw: tuple[RawField, ...] = Field(min_length=1)
    #: what is predicted
    label: Label
    #: the columns that the feature function returns and the model sees
    features: tuple[Feature, ...] = Field(min_length=1)
    #: the recipe's two functions; a model without them is made and served elsewhere, and only watched here
    entry: Entry | None = None
    #: which rows a run learns from
    train: Training = Training()
    #: which windows are looked at
    monitors: tuple[Monitor, ...] = ()
    #: when the model is retrained
    rules: tuple[Rule, ...] = ()
    #: what retraining may cost
    budget: Budget = Budget()
    #: how many false alarms are accepted
    false_alarms: FalseAlarms = FalseAlarms()
    #: what a challenger must show
    gate: Gate = Gate()
    #: how it comes into production then
    rollout: RolloutPlan = RolloutPlan()
    #: labels that every alert of the model carries, for Alertmanager's routes
    alert_labels: dict[LabelName, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_resolve(self) -> ModelSpec:
        self.signature  # noqa: B018 - building it checks the columns
        for kind, names in (
            ("monitors", [m.name for m in self.monitors]),
            ("rules", [r.name for r in self.rules]),
        ):
            twice = sorted(name for name, times in Counter(names).items() if times > 1)
            if twice:
                raise ValueError(f"{kind}: declared twice: {', '.join(twice)}")
        monitors, features = {m.name for m in self.monitors}, {f.name for f in self.features}
        for rule in self.rules:
            if isinstance(rule, DriftRule | NoveltyRule | MetricRule | WorthRule) and rule.monitor not in monitors:
                raise ValueError(f"rule {rule.name}: there is no monitor {rule.monitor!r}")
            if isinstance(rule, NoveltyRule) and (unknown := sorted(set(rule.features) - features)):
                raise ValueError(f"rule {rule.name}: there is no feature {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _texts_are_raw_text(self) -> ModelSpec:
        texts = {field.name for field in self.raw if field.type == "string"}
        for monitor in self.monitors:
            if unknown := sorted(set(monitor.texts) - texts):
                raise ValueError(f"monitor {monitor.name}: texts: there is no raw text field {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _segments_are_categories(self) -> ModelSpec:
        types = {feature.name: feature.type for feature in self.features}
        for monitor in self.monitors:
            for each in monitor.segments:
                if types.get(each.feature) != "categorical":
                    told = types.get(each.feature, "no feature")
                    raise ValueError(f"monitor {monitor.name}: segments: {each.feature} is {told}, not categorical")
        return self

    @model_validator(mode="after")
    def _rules_look_at_segments_that_are_there(self) -> ModelSpec:
        for rule in self.rules:
            if not isinstance(rule, DriftRule | NoveltyRule | MetricRule | WorthRule) or rule.segment is None:
                continue
            declared = sorted(each.name for each in self.monitor(rule.monitor).samples)
            if rule.segment not in declared:
                known = f"it has {', '.join(declared)}" if declared else "it has none"
                raise ValueError(f"rule {rule.name}: {rule.monitor} has no segment {rule.segment!r}: {known}")
        return self

    @model_validator(mode="after")
    def _metrics_are_of_the_task(self) -> ModelSpec:
        if self.task == "regression" and self.entry is not None:
            raise ValueError(
                "task: a regression model can be watched, it is not trained or served here yet, and entry says how to"
            )
        known = METRICS_OF[self.task]
        for rule in self.rules:
            if isinstance(rule, MetricRule) and rule.metric not in known:
                told = f"a {self.task} model has no {rule.metric}: it has {', '.join(known)}"
                raise ValueError(f"rule {rule.name}: {told}")
            if isinstance(rule, WorthRule) and self.task == "regression":
                raise ValueError(f"rule {rule.name}: wrong answers are weighed, which a regression model does not have")
        return self

    @model_validator(mode="after")
    def _slices_are_categories(self) -> ModelSpec:
        types = {feature.name: feature.type for feature in self.features}
        sliced = sorted({each.feature for each in self.gate.slices})
        if unknown := [name for name in sliced if name not in types]:
            raise ValueError(f"gate.slices: there is no feature {', '.join(unknown)}")
        if others := [f"{name} is {types[name]}" for name in sliced if types[name] != "categorical"]:
            raise ValueError(f"gate.slices: {', '.join(others)}: only a categorical feature has slices")
        return self

    @property
    def watched(self) -> bool:
        """Whether it is made and served elsewhere: nothing is trained or served here, and its rules only alert."""
        return self.entry is None

    def recipe_entry(self) -> Entry:
        """The functions of its recipe. Raises WatchedOnly."""
        if self.entry is None:
            raise WatchedOnly(self.model)
        return self.entry

    @property
    def signature(self) -> Signature:
        return Signature(model=self.model, task=self.task, raw=self.raw, features=self.features, label=self.label.name)

    @property
    def digest(self) -> str:
        """SHA-256 over the spec's canonical JSON: two specs that mean the same have the same digest."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()

    def level_of(self, monitor: Monitor, length: timedelta, whole: bool) -> float:
        """The family-wise level at which a window of this length is judged, the whole one or one of its segments."""
        window, accepted = monitor.window, self.false_alarms
        span = window.step if isinstance(window, SlidingWindows) else length
        return level_of(
            accepted.per_month, accepted.highest_level, span, len(self.monitors), len(monitor.samples), whole
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """The raw fields that any monitor compares by their words."""
        return tuple(sorted({name for monitor in self.monitors for name in monitor.texts}))

    def monitor(self, name: str) -> Monitor:
        return next(m for m in self.monitors if m.name == name)
