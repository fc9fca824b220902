"""The same for asyncio programs; many rankings may run at once and share the cores fairly."""

import asyncio

from rerankd import AsyncReranker

DOCUMENTS = ["Bananas are yellow.", "Paris is the capital of France.", "France is a country."]


async def main() -> None:
    async with AsyncReranker() as reranker:
        questions = ["What is the capital of France?", "Which fruit is yellow?"]
        rankings = await asyncio.gather(*(reranker.rank(question, DOCUMENTS, top_n=1) for question in questions))
        for question, ranking in zip(questions, rankings, strict=True):
            print(question, "->", DOCUMENTS[ranking[0].index])


asyncio.run(main())
