"""Operations are counted as a hand counts them."""

from rerankd.bench.flops import LayerShape, layer_shape


def test_one_layer_is_what_a_hand_counts() -> None:
    shape = LayerShape(layers=1, width=2, inner=3)
    # 5 tokens: queries, keys, values and output are 5x2 @ 2x2 each, the feed-forward 5x2 @ 2x3 and 5x3 @ 3x2,
    # QK^T is 5x2 @ 2x5 and AV 5x5 @ 5x2.
    by_hand = 4 * 5 * 2 * 2 + 5 * 2 * 3 + 5 * 3 * 2 + 5 * 2 * 5 + 5 * 5 * 2
    assert shape.multiply_adds(5) == by_hand
    assert shape.flops([5, 5]) == 2 * 2 * by_hand


def test_minilm_at_its_published_length_is_the_figure_of_the_twelve_h_squared_form() -> None:
    shape = LayerShape(layers=6, width=384, inner=1536)
    assert shape.multiply_adds(197) == 6 * (197 * 12 * 384**2 + 2 * 197**2 * 384)


def test_the_shape_is_read_from_config_json() -> None:
    config = {"model_type": "xlm-roberta", "num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072}
    assert layer_shape(config) == LayerShape(12, 768, 3072)
    config = {"model_type": "distilbert", "n_layers": 6, "dim": 768, "hidden_dim": 3072}
    assert layer_shape(config) == LayerShape(6, 768, 3072)


def test_what_is_not_known_is_not_counted() -> None:
    assert layer_shape({"model_type": "qwen3", "num_hidden_layers": 1, "hidden_size": 8}) is None
    assert layer_shape({"model_type": "bert", "num_hidden_layers": 1, "hidden_size": 8}) is None
