"""The Spark ML pipelines of the tweets model: the one in use, and the article's original."""

from __future__ import annotations

from pyspark.ml import Pipeline
from pyspark.ml.classification import DecisionTreeClassifier, GBTClassifier
from pyspark.ml.feature import ElementwiseProduct, Normalizer, StringIndexer, VectorAssembler

from bundle.signature import Signature

#: the columns of the article
ORIGINAL = ("location", "hashtags", "followers", "friends", "favourites", "positive", "negative", "verified")


def pipeline(signature: Signature) -> Pipeline:
    """Gradient-boosted trees over all features.

    A category enters as its rank by frequency, an ordinal: ElementwiseProduct by ones drops the metadata that would
    make the trees split it as a set, which needs a bin for each of thousands of values and learns them by heart.
    """
    names = list(signature.feature_names)
    indexers, columns = _indexed(signature, names)
    ordinal = ElementwiseProduct(scalingVec=[1.0] * len(names), inputCol="assembled", outputCol="features")
    trees = GBTClassifier(
        labelCol=signature.label, maxIter=30, maxDepth=3, stepSize=0.1, minInstancesPerNode=30, seed=1
    )
    return Pipeline(stages=[*indexers, _assembler(columns), ordinal, trees])


def original(signature: Signature) -> Pipeline:
    """The article's pipeline: indexed location and hashtags, eight columns, normalised, one decision tree."""
    indexers, columns = _indexed(signature, list(ORIGINAL))
    normalised = Normalizer(inputCol="assembled", outputCol="features", p=2.0)
    tree = DecisionTreeClassifier(labelCol=signature.label, maxDepth=5, seed=1)
    return Pipeline(stages=[*indexers, _assembler(columns), normalised, tree])


def _indexed(signature: Signature, names: list[str]) -> tuple[list[StringIndexer], list[str]]:
    """An indexer for each category, which keeps unseen values, and the names of the numeric columns that result."""
    categories = [f.name for f in signature.features if f.type == "categorical" and f.name in names]
    indexers = [StringIndexer(inputCol=n, outputCol=f"{n}_rank", handleInvalid="keep") for n in categories]
    return indexers, [f"{name}_rank" if name in categories else name for name in names]


def _assembler(columns: list[str]) -> VectorAssembler:
    return VectorAssembler(inputCols=columns, outputCol="assembled", handleInvalid="keep")
