"""All of the pipeline that others may know: the spec a user writes, what a training run is asked and what it reports."""
