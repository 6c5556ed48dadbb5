#!/usr/bin/env python3
"""A model that an emulated processor can run: the vocabulary and the chat template of another, one layer, random weights.

What it writes makes no sense; servers say the same system calls about it. `tiny_model.py MODEL.gguf TINY.gguf`; needs `gguf`.
"""
import sys

import gguf
import numpy

EMBEDDING = 64
FEED_FORWARD = 64
SHAPE = {
    "block_count": 1,
    "embedding_length": EMBEDDING,
    "feed_forward_length": FEED_FORWARD,
    "attention.head_count": 1,
    "attention.head_count_kv": 1,
    "rope.dimension_count": EMBEDDING,
}
# Named after the file itself, which is written anew.
OWN = ("GGUF.", "general.architecture", "general.file_type")


def main(model: str, tiny: str) -> None:
    given = gguf.GGUFReader(model)
    architecture = given.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(tiny, architecture)
    shape = {f"{architecture}.{name}": size for name, size in SHAPE.items()}
    for name, field in given.fields.items():
        if not name.startswith(OWN):
            value = shape.get(name, field.contents())
            element = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, value, field.types[0], sub_type=element)

    random = numpy.random.default_rng(1)
    q8 = gguf.GGMLQuantizationType.Q8_0

    def matrix(name: str, rows: int, columns: int) -> None:
        weights = random.standard_normal((rows, columns), dtype=numpy.float32)
        writer.add_tensor(name, gguf.quants.quantize(weights, q8), raw_dtype=q8)

    def norm(name: str) -> None:
        writer.add_tensor(name, numpy.ones(EMBEDDING, dtype=numpy.float32))

    matrix("token_embd.weight", len(given.fields["tokenizer.ggml.tokens"].data), EMBEDDING)
    norm("output_norm.weight")
    norm("blk.0.attn_norm.weight")
    for name in ("q", "k", "v", "output"):
        matrix(f"blk.0.attn_{name}.weight", EMBEDDING, EMBEDDING)
    norm("blk.0.ffn_norm.weight")
    matrix("blk.0.ffn_gate.weight", FEED_FORWARD, EMBEDDING)
    matrix("blk.0.ffn_up.weight", FEED_FORWARD, EMBEDDING)
    matrix("blk.0.ffn_down.weight", EMBEDDING, FEED_FORWARD)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
