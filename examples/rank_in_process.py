"""Rank documents in this process with the bundled model: no server, no download."""

from rerankd import Reranker

DOCUMENTS = [
    "Python是编程语言",
    "人工智能是计算机科学的分支",
    "机器学习通过数据训练模型",
]

with Reranker() as reranker:
    for hit in reranker.rank("什么是人工智能?", DOCUMENTS, top_n=2):
        print(f"{hit.score:.3f}  {DOCUMENTS[hit.index]}")
