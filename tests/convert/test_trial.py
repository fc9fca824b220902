from rerankd.convert import trial


def test_requests_are_of_one_size_and_none_repeats_a_document() -> None:
    requests = trial.measured()
    assert len(requests) == 12
    assert {len(set(request.documents)) for request in requests} == {trial.DOCUMENTS}


def test_what_is_measured_was_not_fitted_to() -> None:
    def texts(requests: list[trial.Request]) -> set[str]:
        return {text for request in requests for text in (request.query, *request.documents)}

    assert not texts(list(trial.measured())) & texts(list(trial.fitted()))


def test_both_languages_and_short_and_long_texts_are_there() -> None:
    texts = [text for request in trial.measured() for text in request.documents]
    chinese = [text for text in texts if any("一" <= letter <= "鿿" for letter in text)]
    assert 0.3 < len(chinese) / len(texts) < 0.7
    assert max(map(len, texts)) > 1000
    assert min(map(len, texts)) < 40
