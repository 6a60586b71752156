"""All of the pipeline that others may know: the spec a user writes, what a run is asked, what it reports."""
