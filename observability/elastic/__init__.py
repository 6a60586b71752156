"""The log store in Elasticsearch: templates of its data streams, writing, questions."""
