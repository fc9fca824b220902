"""Let a running server do the work: `rerankd serve`, then this. Takes the server's address as its argument."""

import sys

from rerankd import Client

DOCUMENTS = ["Bananas are yellow.", "Paris is the capital of France.", "France is a country."]

with Client(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8036") as client:
    for hit in client.rank("What is the capital of France?", DOCUMENTS):
        print(f"{hit.score:.3f}  {DOCUMENTS[hit.index]}")
