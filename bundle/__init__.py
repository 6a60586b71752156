"""What a model version is made of, and nothing else.

A version is a set of files named by their SHA-256: the ONNX graph, the signature, the recipe's feature function, golden
rows and the reference. `pipeline` writes it, `serving` answers with it, `observability` reads its signature. It stands
below all of them so that the row that was trained on and the row that is served pass through the same code.
"""
