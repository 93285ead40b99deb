"""An independent T5 in float64 NumPy: one loop a layer, one example and one head at a time, nothing shared.

Written from the published description, not from the package: it is what the package is tested against.
"""

import math

import numpy as np


def forward(model, inputs_BS, decoder_inputs_BT, inputs_segments_BS=None, targets_segments_BT=None) -> np.ndarray:
    """logits_BTV of a `t5x_lite.T5` read parameter by parameter."""
    rows = []
    for b in range(len(inputs_BS)):
        inputs, decoder_inputs = inputs_BS[b], decoder_inputs_BT[b]
        input_segments = (inputs > 0).astype(int) if inputs_segments_BS is None else inputs_segments_BS[b]
        target_segments = np.ones(len(decoder_inputs), int) if targets_segments_BT is None else targets_segments_BT[b]
        rows.append(_one_example(model, inputs, decoder_inputs, input_segments, target_segments))
    return np.stack(rows)


def encode(encoder, inputs_BS, segments_BS=None) -> np.ndarray:
    """encoded_BSD of a `t5x_lite.Encoder`."""
    segments_BS = (inputs_BS > 0).astype(int) if segments_BS is None else segments_BS
    return np.stack([_encoded(encoder, *row) for row in zip(inputs_BS, segments_BS, strict=True)])


def decode(decoder, inputs_BT, prefix_BT=None, segments_BT=None) -> np.ndarray:
    """logits_BTV of a `t5x_lite.Decoder`; unlike the model, it is told which tokens see each other pair by pair."""
    B, T = inputs_BT.shape
    prefix_BT = np.zeros((B, T), int) if prefix_BT is None else prefix_BT
    segments_BT = np.ones((B, T), int) if segments_BT is None else segments_BT
    rows = []
    for inputs, prefix, segments in zip(inputs_BT, prefix_BT, segments_BT, strict=True):
        see = np.zeros((T, T), bool)
        for query in range(T):
            for key in range(T):
                reachable = key <= query or (prefix[query] == 1 and prefix[key] == 1)
                see[query, key] = reachable and segments[query] == segments[key] > 0
        x = _array(decoder.embedding)[inputs]
        hidden = _self_attention_stack(decoder.decoder, x, see, False, decoder.cfg)
        rows.append(_logits(decoder, hidden))
    return np.stack(rows)


def _one_example(model, inputs, decoder_inputs, input_segments, target_segments):
    cfg, embedding = model.cfg, _array(model.embedding)
    position = np.arange(len(decoder_inputs))
    encoded = _encoded(model, inputs, input_segments)

    x = embedding[decoder_inputs]
    causal = position[:, None] >= position[None, :]
    see_self = causal & (target_segments[:, None] == target_segments[None, :]) & (target_segments[None, :] > 0)
    see_cross = (target_segments[:, None] == input_segments[None, :]) & (input_segments[None, :] > 0)
    for layer in range(cfg.num_decoder_layers):
        block = model.decoder.blocks
        bias = _bias(model.decoder.position_bias, layer, position, False, cfg)
        normed = _norm(x, _array(block.self_attention_norm.scale)[layer])
        x = x + _attention(block.self_attention, layer, normed, normed, bias, see_self)
        normed = _norm(x, _array(block.cross_attention_norm.scale)[layer])
        x = x + _attention(block.cross_attention, layer, normed, encoded, None, see_cross)
        x = x + _mlp(block.mlp, layer, _norm(x, _array(block.mlp_norm.scale)[layer]), cfg)
    return _logits(model, _norm(x, _array(model.decoder.final_norm.scale)))


def _encoded(model, inputs, segments):
    see = (segments[:, None] == segments[None, :]) & (segments[None, :] > 0)
    return _self_attention_stack(model.encoder, _array(model.embedding)[inputs], see, True, model.cfg)


def _self_attention_stack(stack, x, see, bidirectional, cfg):
    block = stack.blocks
    for layer in range(cfg.num_encoder_layers if bidirectional else cfg.num_decoder_layers):
        bias = _bias(stack.position_bias, layer, np.arange(len(x)), bidirectional, cfg)
        normed = _norm(x, _array(block.attention_norm.scale)[layer])
        x = x + _attention(block.attention, layer, normed, normed, bias, see)
        x = x + _mlp(block.mlp, layer, _norm(x, _array(block.mlp_norm.scale)[layer]), cfg)
    return _norm(x, _array(stack.final_norm.scale))


def _logits(model, hidden):
    cfg = model.cfg
    kernel = _array(model.embedding).T if cfg.tie_embeddings else _array(model.logits_kernel)
    scaled = cfg.tie_embeddings if cfg.scale_logits is None else cfg.scale_logits
    return hidden @ kernel / (math.sqrt(cfg.emb_dim) if scaled else 1)


def _array(param) -> np.ndarray:
    return np.asarray(param[...], np.float64)


def _norm(x, scale):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale


def _attention(attention, layer, x, y, bias, see):
    query, key, value, out = (_array(getattr(attention, name))[layer] for name in ("query", "key", "value", "out"))
    total = np.zeros_like(x)
    for head in range(query.shape[1]):
        scores = (x @ query[:, head]) @ (y @ key[:, head]).T
        if bias is not None:
            scores = scores + bias[head]
        total += _weights(np.where(see, scores, scores - 1e10)) @ (y @ value[:, head]) @ out[head]
    return total


def _weights(scores):
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _mlp(mlp, layer, x, cfg):
    if cfg.mlp_activations == ("relu",):
        hidden = np.maximum(x @ _array(mlp.wi)[layer], 0)
    else:
        gate = x @ _array(mlp.wi_0)[layer]
        if cfg.mlp_activations[0] == "silu":
            activated = gate / (1 + np.exp(-gate))
        else:
            activated = 0.5 * gate * (1 + np.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)))
        hidden = activated * (x @ _array(mlp.wi_1)[layer])
    return hidden @ _array(mlp.wo)[layer]


def _bias(module, layer, places, bidirectional, cfg):
    table = _array(module.table)[layer] if cfg.relative_bias_per_layer else _array(module.table)
    return np.array(
        [[[row[_bucket(k - q, bidirectional, cfg)] for k in places] for q in places] for row in table], np.float64
    )


def _bucket(relative, bidirectional, cfg):
    num, offset = cfg.relative_position_buckets, 0
    if bidirectional:
        num //= 2
        offset = num if relative > 0 else 0
        distance = abs(int(relative))
    else:
        distance = max(-int(relative), 0)
    exact = num // 2
    if distance < exact:
        return offset + distance
    scale = math.log(distance / exact) / math.log(cfg.relative_position_max_distance / exact)
    return offset + min(num - 1, exact + int(scale * (num - exact)))
