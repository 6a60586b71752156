"""The scikit-learn pipeline of the flights model."""

from __future__ import annotations

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from bundle.signature import Signature


def pipeline(signature: Signature) -> Pipeline:
    """Boosted trees over ordinal categories; a category that training never saw gets a code of its own."""
    categorical = [feature.name for feature in signature.features if feature.type == "categorical"]
    numeric = [feature.name for feature in signature.features if feature.type == "numeric"]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("categories", encoder, categorical), ("numbers", "passthrough", numeric)])
    trees = HistGradientBoostingClassifier(
        max_iter=60,
        learning_rate=0.08,
        max_leaf_nodes=8,
        min_samples_leaf=60,
        early_stopping=False,
        random_state=0,
    )
    return Pipeline([("columns", columns), ("trees", trees)])
