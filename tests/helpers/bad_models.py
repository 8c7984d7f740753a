"""Model folders that are wrong in one way: what is done to a folder that is right."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hypothesis import assume
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

Change = Callable[[Path], Any]
WEIGHTS = "model.safetensors"


def edited(file: str, **entries: Any) -> Change:
    """Entries of a JSON file set, or taken away where they are `...`."""

    def change(folder: Path) -> None:
        path = folder / file
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        content = {key: value for key, value in (content | entries).items() if value is not ...}
        path.write_text(json.dumps(content, ensure_ascii=True))

    return change


def tokens(change: Callable[[dict[str, Any]], Any]) -> Change:
    """A change of tokenizer.json's content."""

    def make(folder: Path) -> None:
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return make


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    """A change of the weights."""

    def make(folder: Path) -> None:
        found = load_file(folder / WEIGHTS)
        change(found)
        save_file(found, folder / WEIGHTS, {"format": "pt"})

    return make


def content(file: str, text: str | bytes) -> Change:
    return lambda folder: (folder / file).write_bytes(text if isinstance(text, bytes) else text.encode())


def instead(file: str, put: Change) -> Change:
    """Something else in a file's place."""

    def change(folder: Path) -> None:
        (folder / file).unlink()
        put(folder / file)

    return change


def sharded(index: Any) -> Change:
    """Weights in one shard, and an index that says `index` of it."""

    def change(folder: Path) -> None:
        names = list(load_file(folder / WEIGHTS))
        (folder / WEIGHTS).rename(folder / "model-00001-of-00001.safetensors")
        made = index(names) if callable(index) else index
        (folder / "model.safetensors.index.json").write_text(made if isinstance(made, str) else json.dumps(made))

    return change


def header(change: Callable[[dict[str, Any]], Any]) -> Change:
    """A change of the header of the weights, their bytes left as they are."""

    def make(folder: Path) -> None:
        found = (folder / WEIGHTS).read_bytes()
        length = struct.unpack("<Q", found[:8])[0]
        entries = json.loads(found[8 : 8 + length])
        change(entries)
        text = json.dumps(entries).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + found[8 + length :])

    return make


def cut(file: str, share: float) -> Change:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return change


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def first(entries: dict[str, Any]) -> str:
    """The first tensor's name."""
    return sorted(name for name in entries if name != "__metadata__")[0]


GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2}
DEEP = "[" * 100_000 + "]" * 100_000
MANY = "1" * 5000
ENTRY = "transformer.h.0.mlp.c_fc.weight"

NO_CONFIG = ("", "{", "[]", "null", "7", '"x"', "NaN", "<html>")
NO_FAMILY = ("t5", "bert", "GPT2", "../gpt2", "x" * 5000, "a\nb", "\ud800")

WEIGHT_WAYS: dict[str, Change] = {
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "pickled weights alone": pickled,
    "pickle under the name of safetensors": lambda folder: torch.save({"x": torch.zeros(2)}, folder / WEIGHTS),
    "git's pointer": content(WEIGHTS, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
    "HTML": content(WEIGHTS, "<html>404</html>"),
    "empty": content(WEIGHTS, b""),
    "eight bytes": content(WEIGHTS, b"\0" * 8),
    "header longer than the file": content(WEIGHTS, struct.pack("<Q", 10**6) + b"{}"),
    "header longer than any file": content(WEIGHTS, struct.pack("<Q", 2**63) + b"{}"),
    "header that is no JSON": content(WEIGHTS, struct.pack("<Q", 4) + b"{{{{"),
    "header nested deep": content(WEIGHTS, struct.pack("<Q", len(DEEP)) + DEEP.encode()),
    "missing tensor": tensors(lambda found: found.pop(ENTRY)),
    "renamed tensor": tensors(lambda found: found.update({ENTRY + "s": found.pop(ENTRY)})),
    "no tensor": tensors(lambda found: found.clear()),
    "wider tensor": tensors(lambda found: found.update({ENTRY: torch.zeros(16, 17)})),
    "tensor turned": tensors(lambda found: found.update({ENTRY: found[ENTRY].reshape(-1)})),
    "whole numbers": tensors(lambda found: found.update({ENTRY: found[ENTRY].to(torch.int64)})),
    "truth values": tensors(lambda found: found.update({ENTRY: found[ENTRY] > 0})),
    "eight-bit numbers": tensors(lambda found: found.update({ENTRY: found[ENTRY].to(torch.float8_e4m3fn)})),
    "bytes": tensors(lambda found: found.update({ENTRY: found[ENTRY].to(torch.uint8)})),
    "unknown dtype": header(lambda found: found[first(found)].update(dtype="F7")),
    "offsets beyond the end": header(lambda found: found[first(found)].update(data_offsets=[0, 10**9])),
    "offsets turned": header(lambda found: found[first(found)].update(data_offsets=[64, 0])),
    "offsets that are negative": header(lambda found: found[first(found)].update(data_offsets=[-64, 0])),
    "offsets that overlap": header(lambda found: found[first(found)].update(data_offsets=[4, 68])),
    "shape without offsets": header(lambda found: found[first(found)].pop("data_offsets")),
    "shape that is negative": header(lambda found: found[first(found)].update(shape=[-1])),
    "shape beyond all": header(lambda found: found[first(found)].update(shape=[2**62, 2**62])),
    "folder": instead(WEIGHTS, lambda path: path.mkdir()),
    "pipe": instead(WEIGHTS, os.mkfifo),
    "endless device": instead(WEIGHTS, lambda path: path.symlink_to("/dev/zero")),
    "link to itself": instead(WEIGHTS, lambda path: path.symlink_to(path.name)),
    "dangling link": instead(WEIGHTS, lambda path: path.symlink_to("nowhere")),
    **{f"cut at {share:.0%}": cut(WEIGHTS, share) for share in (0.001, 0.01, 0.1, 0.5, 0.9, 0.999)},
    "index without shards": sharded({"weight_map": {}}),
    "index without map": sharded({}),
    "index that is a list": sharded([]),
    "map that is a list": sharded({"weight_map": ["model-00001-of-00001.safetensors"]}),
    "index cut short": sharded('{"weight_map": {'),
    "missing shard": sharded(lambda names: {"weight_map": dict.fromkeys(names, "model-00002-of-00002.safetensors")}),
    "shard above the folder": sharded(lambda names: {"weight_map": dict.fromkeys(names, "../model.safetensors")}),
    "shard anywhere": sharded(lambda names: {"weight_map": dict.fromkeys(names, "/etc/passwd")}),
    "shard in a folder": sharded(lambda names: {"weight_map": dict.fromkeys(names, "x/model.safetensors")}),
    "pickled shard": sharded(lambda names: {"weight_map": dict.fromkeys(names, "pytorch_model.bin")}),
    "shard that is a number": sharded(lambda names: {"weight_map": dict.fromkeys(names, 1)}),
    "shard that is a list": sharded(lambda names: {"weight_map": {name: ["x"] for name in names}}),
    "shard without name": sharded(lambda names: {"weight_map": dict.fromkeys(names, "")}),
    "shard with a null byte": sharded(lambda names: {"weight_map": dict.fromkeys(names, "a\0.safetensors")}),
    "shard with a long name": sharded(lambda names: {"weight_map": dict.fromkeys(names, "x" * 300 + ".safetensors")}),
}

CONFIG_WAYS: dict[str, Change] = {
    "absent": lambda folder: (folder / "config.json").unlink(),
    "folder": instead("config.json", lambda path: path.mkdir()),
    "pipe": instead("config.json", os.mkfifo),
    "endless device": instead("config.json", lambda path: path.symlink_to("/dev/zero")),
    "link to itself": instead("config.json", lambda path: path.symlink_to(path.name)),
    **{
        f"holds {text[:20]!r}": content("config.json", text)
        for text in (
            "",
            "{",
            "[]",
            "null",
            "7",
            '"x"',
            "NaN",
            "<html>",
            DEEP,
            '{"a": ' * 100_000,
            f'{{"n_embd": {MANY}}}',
        )
    },
    "not UTF-8": content("config.json", b'{"model_type": "\xff"}'),
    "UTF-16": content("config.json", '{"model_type": "gpt2"}'.encode("utf-16")),
    "key twice": content("config.json", '{"model_type": "gpt2", "model_type": "gpt2"}'),
    "NaN": content("config.json", '{"model_type": "gpt2", "layer_norm_epsilon": NaN}'),
    **{
        f"model_type {str(value)[:20]!r}": edited("config.json", model_type=value)
        for value in (
            ...,
            None,
            "",
            "t5",
            "bert",
            "GPT2",
            "../gpt2",
            "x" * 5000,
            "a\nb",
            "\ud800",
            7,
            True,
            [],
            {"gpt2": 1},
        )
    },
    "custom code of another family": edited("config.json", model_type="mine", auto_map={"AutoConfig": "code.Mine"}),
    "cross-attention": edited("config.json", add_cross_attention=True),
    "quantized": edited("config.json", quantization_config={"quant_method": "gptq", "bits": 4}),
    "quantized by nobody knows what": edited("config.json", quantization_config={"quant_method": "x"}),
    "unknown activation": edited("config.json", activation_function="strange"),
    "activation that is a number": edited("config.json", activation_function=7),
}

RECORD_WAYS: dict[str, Change] = {
    "holds a list": content("model.json", "[]"),
    "cut short": content("model.json", '{"family": "gpt2"'),
    "folder": lambda folder: (folder / "model.json").mkdir(),
    "pipe": lambda folder: os.mkfifo(folder / "model.json"),
    "link to itself": lambda folder: (folder / "model.json").symlink_to("model.json"),
    "another family": edited("model.json", family="bert"),
    "unknown family": edited("model.json", family="t5"),
    "family that is a number": edited("model.json", family=7),
    "nowhere": edited("model.json", source="path", location="/nowhere/at/all"),
    "location that is a list": edited("model.json", source="path", location=["/tmp"]),
    "location with a null byte": edited("model.json", source="path", location="a\0b"),
    "location of great length": edited("model.json", source="path", location="x" * 5000),
    "location that is a file": edited("model.json", source="path", location="config.json"),
    "hub id that is none": edited("model.json", source="hub", location="../../etc"),
    "hub id of great length": edited("model.json", source="hub", location="a/" + "x" * 5000),
    "revision that is a number": edited("model.json", source="hub", location="owner/name", revision=7),
}


def _vocabulary(entries: dict[str, Any]) -> dict[str, int]:
    return entries["model"]["vocab"]


TOKENIZER_WAYS: dict[str, Change] = {
    "absent": lambda folder: (folder / "tokenizer.json").unlink(),
    "folder": instead("tokenizer.json", lambda path: path.mkdir()),
    "pipe": instead("tokenizer.json", os.mkfifo),
    "endless device": instead("tokenizer.json", lambda path: path.symlink_to("/dev/zero")),
    "link to itself": instead("tokenizer.json", lambda path: path.symlink_to(path.name)),
    **{f"cut at {share:.0%}": cut("tokenizer.json", share) for share in (0, 0.01, 0.3, 0.6, 0.99)},
    **{
        f"holds {text[:20]!r}": content("tokenizer.json", text)
        for text in ("{}", "[]", "null", "7", '{"model": {}}', "<html>", DEEP, '{"model": ' * 100_000)
    },
    "another file of the folder": lambda folder: shutil.copyfile(folder / "config.json", folder / "tokenizer.json"),
    "not UTF-8": lambda folder: (folder / "tokenizer.json").write_bytes(
        (folder / "tokenizer.json").read_bytes().replace(b"vase", b"v\xffse", 1)
    ),
    **{f"without {key}": tokens(lambda entries, key=key: entries.pop(key)) for key in ("model",)},
    **{
        f"model {kind}": tokens(lambda entries, kind=kind: entries["model"].update(type=kind))
        for kind in ("Strange", "Unigram", 7, None, [])
    },
    "vocabulary empty": tokens(lambda entries: entries["model"].update(vocab={})),
    "vocabulary a list": tokens(lambda entries: entries["model"].update(vocab=[])),
    "vocabulary a text": tokens(lambda entries: entries["model"].update(vocab="x")),
    "token without number": tokens(lambda entries: _vocabulary(entries).update(zzz=None)),
    "token with a text for a number": tokens(lambda entries: _vocabulary(entries).update(zzz="7")),
    "token below zero": tokens(lambda entries: _vocabulary(entries).update(zzz=-1)),
    "token beyond all": tokens(lambda entries: _vocabulary(entries).update(zzz=2**40)),
    "token of a larger model": tokens(lambda entries: _vocabulary(entries).update(zzz=50_000)),
    "tokens of a much larger model": tokens(
        lambda entries: _vocabulary(entries).update({f"zzz{number}": 400 + number for number in range(1000)})
    ),
    "numbers moved": tokens(
        lambda entries: entries["model"].update(vocab={word: 10_000 + n for word, n in _vocabulary(entries).items()})
    ),
    "pre-tokenizer unknown": tokens(lambda entries: entries.update(pre_tokenizer={"type": "Strange"})),
    "normalizer unknown": tokens(lambda entries: entries.update(normalizer={"type": "Strange"})),
    "normalizer that cannot be": tokens(
        lambda entries: entries.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"})
    ),
    "pattern that is none": tokens(
        lambda entries: entries.update(
            pre_tokenizer={"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False}
        )
    ),
    "post-processor unknown": tokens(lambda entries: entries.update(post_processor={"type": "Strange"})),
    "decoder unknown": tokens(lambda entries: entries.update(decoder={"type": "Strange"})),
    "added token without number": tokens(
        lambda entries: entries.update(added_tokens=[{"content": "x", "special": True}])
    ),
    "settings a list": content("tokenizer_config.json", "[]"),
    "settings cut short": cut("tokenizer_config.json", 0.5),
    "settings not UTF-8": content("tokenizer_config.json", b'{"a": "\xff"}'),
    "settings a pipe": instead("tokenizer_config.json", os.mkfifo),
    "settings a folder": instead("tokenizer_config.json", lambda path: path.mkdir()),
    **{
        f"longest {str(value)[:20]!r}": edited("tokenizer_config.json", model_max_length=value)
        for value in (0, -1, 0.5, "128", True, [], {})
    },
}
BERT_WAYS: dict[str, Change] = {
    "decoder": edited("config.json", is_decoder=True),
    "relative positions": edited("config.json", position_embedding_type="relative_key"),
    "no mask token": tokens(
        lambda entries: (
            _vocabulary(entries).pop("[MASK]"),
            entries.update(added_tokens=[entry for entry in entries["added_tokens"] if entry["content"] != "[MASK]"]),
        )
    ),
    "no token for the unknown": tokens(
        lambda entries: (
            _vocabulary(entries).pop("[UNK]"),
            entries.update(added_tokens=[entry for entry in entries["added_tokens"] if entry["content"] != "[UNK]"]),
        )
    ),
    "another token for the unknown": tokens(lambda entries: entries["model"].update(unk_token="[strange]")),
    "token at the beginning beyond the vocabulary": tokens(
        lambda entries: entries["post_processor"]["special_tokens"]["[CLS]"].update(ids=[100_000])
    ),
    "tokenizer of a causal model": lambda folder: shutil.copyfile(
        folder.parent / "gpt2" / "tokenizer.json", folder / "tokenizer.json"
    ),
    "weights of a causal model": lambda folder: shutil.copyfile(folder.parent / "gpt2" / WEIGHTS, folder / WEIGHTS),
}
HARMLESS_WAYS: dict[str, Change] = {
    "further tensor": tensors(lambda found: found.update({"further.weight": torch.zeros(3)})),
    "custom code of its own family": lambda folder: (
        edited("config.json", auto_map={"AutoModelForCausalLM": "code.Mine"})(folder),
        edited("tokenizer_config.json", auto_map={"AutoTokenizer": ["code.Mine", None]})(folder),
        (folder / "code.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Mine: pass\n"),
    ),
    "pickle beside the weights": lambda folder: (folder / "pytorch_model.bin").write_bytes(
        b"cos\nsystem\n(S'touch ran'\ntR."
    ),
    "one shard": sharded(
        lambda names: {"metadata": {}, "weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
    ),
    "carriage returns": lambda folder: (folder / "config.json").write_bytes(
        (folder / "config.json").read_bytes().replace(b"\n", b"\r\n")
    ),
    "byte-order mark in model.json": content("model.json", b'\xef\xbb\xbf{"family": "gpt2"}'),
    "further keys": edited("config.json", further=[1, {"a": None}]),
    "no longest input": edited("tokenizer_config.json", model_max_length=10**30),
    "further file": lambda folder: (folder / "README.md").symlink_to("/nowhere"),
    "weights behind a link": lambda folder: (
        (folder / WEIGHTS).rename(folder / "blob"),
        (folder / WEIGHTS).symlink_to("blob"),
    ),
}

SIZES = ("n_embd", "n_layer", "n_head", "n_positions", "vocab_size", "n_inner")
WRONG_SIZES = st.one_of(
    st.integers(max_value=0),
    st.integers(min_value=10**6).filter(lambda value: value > 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(max_size=5),
    st.just([16]),
    st.just({}),
    st.integers(3, 15),  # not this model's
)


@st.composite
def wrong_sizes(draw: st.DrawFn) -> tuple[str, Change]:
    key, value = draw(st.sampled_from(SIZES)), draw(WRONG_SIZES)
    assume(key != "n_head" or value not in (4, 8))  # they divide the width: the weights' shapes do not show them
    return f"{key}: {value!r}"[:100], edited("config.json", **{key: value})
