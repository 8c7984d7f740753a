"""The plain algorithm: one prompt, one layer at a time, every row through the whole, untouched model.

Slow and obviously right. It shares no code with kn_thesis: names inside the models are its own.
"""

import numpy as np
import torch

VALUE_MATRIX = {
    "bert": lambda module, layer: module.bert.encoder.layer[layer].output.dense,
    "gpt2": lambda module, layer: module.transformer.h[layer].mlp.c_proj,
    "llama": lambda module, layer: module.model.layers[layer].mlp.down_proj,
    "roberta": lambda module, layer: module.roberta.encoder.layer[layer].output.dense,
    "gptj": lambda module, layer: module.transformer.h[layer].mlp.fc_out,
    "mistral": lambda module, layer: module.model.layers[layer].mlp.down_proj,
    "qwen2": lambda module, layer: module.model.layers[layer].mlp.down_proj,
}
MASKED = ("bert", "roberta")
# Where the public code of Niu et al. (2024) patches causal models: this module's output.
PREACTIVATION = {
    "gpt2": lambda module, layer: module.transformer.h[layer].mlp.c_fc,
    "gptj": lambda module, layer: module.transformer.h[layer].mlp.fc_in,
    **dict.fromkeys(("llama", "mistral", "qwen2"), lambda module, layer: module.model.layers[layer].mlp.gate_proj),
}


def hooked(module, layer, change, before=False):
    """Handle of a hook that hands a layer's neurons (rows, tokens, width) to `change`; what it returns replaces them.

    `before`: the neurons before the activation function.
    """
    kind = module.config.model_type
    if before:
        return PREACTIVATION[kind](module, layer).register_forward_hook(lambda _, inputs, output: change(output))
    return VALUE_MATRIX[kind](module, layer).register_forward_pre_hook(lambda _, inputs: change(inputs[0]))


def reference_attribution(module, input_ids, gap, target_ids, points, weights, baseline=True, before=False):
    """Scores (layers, width), P(w̄), P(0) (layers,) of one prompt; the mean over the target's tokens.

    `points`, `weights`: the quadrature's nodes and weights. Without `baseline`, P(0) is not computed (nan), as in the
    public implementations. `before`: see `hooked`.
    """
    causal = module.config.model_type not in MASKED
    results = []
    for j, token in enumerate(target_ids):
        ids = list(input_ids)
        if causal:
            ids += target_ids[:j]
        else:
            ids[gap : gap + j] = target_ids[:j]
        results.append(_one_token(module, ids, gap + j, token, points, weights, baseline, before))
    return tuple(np.mean([result[part] for result in results], axis=0) for part in range(3))


def _one_token(module, ids, position, token, points, weights, baseline, before):
    scores, silent = [], []
    for layer in range(module.config.num_hidden_layers):
        read = []

        def keep(neurons, read=read):
            read.append(neurons[0, position].detach().clone())

        clean = _probability(module, layer, keep, ids, 1, position, token, before)
        activation = read[0]
        rows = torch.tensor(points, dtype=activation.dtype)[:, None] * activation
        rows.requires_grad_()

        def put(neurons, rows=rows):
            changed = neurons.clone()
            changed[:, position] = rows
            return changed

        probability = _probability(module, layer, put, ids, len(points), position, token, before)
        (gradient,) = torch.autograd.grad(probability.sum(), rows)
        scores.append(((torch.tensor(weights, dtype=rows.dtype) @ gradient) * activation).numpy())

        def silence(neurons):
            changed = neurons.clone()
            changed[:, position] = 0
            return changed

        value = _probability(module, layer, silence, ids, 1, position, token, before).item() if baseline else np.nan
        silent.append(value)
    return np.array(scores), clean.item(), np.array(silent)


def _probability(module, layer, change, ids, rows, position, token, before):
    handle = hooked(module, layer, change, before)
    try:
        logits = module(torch.tensor([ids] * rows)).logits[:, position]
    finally:
        handle.remove()
    return torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)[:, token]
