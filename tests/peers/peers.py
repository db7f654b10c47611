"""Usage: VENV/bin/python peers.py QLOOM FIXTURES: exports of qloom as public programs load them.

For a model of each architecture qloom quantizes, compensates, evaluates and exports. Then transformers, peft and a GPTQ reader in
numpy load what was written, and the negative log-likelihood of every token is compared with qloom's own. See setup.sh.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationScheme
from peft import PeftModel
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

SEQLEN = 128
BYTES = 6000
TOLERANCE = 2e-3  # in f32 on both sides: rounding inside attention and products

PIPELINE = """qloom: 1
name: peers
baseline: false
stages:
  base: {{use: auto, path: {model}}}
  calib: {{use: text, path: {calib}, samples: 8, seqlen: 128}}
  eval: {{use: text, path: {text}, seqlen: {seqlen}, samples: 0, bos: 'no'}}
  quant: {{use: gptq, model: $base, calib: $calib, group_size: 32, {quant}}}
  fix:
    use: lordq
    model: $quant
    rank: 4
    overrides: [{{match: '*.down_proj', rank: 6}}]
  bare: {{use: perplexity, model: $quant, data: $eval, save_nll: true}}
  fixed: {{use: perplexity, model: $fix, data: $eval, save_nll: true}}
  ckpt: {{use: gptq_checkpoint, model: $quant, version: {version}}}
{packed}  merged: {{use: dequantized, model: $fix}}
  portable: {{use: peft_adapter, model: $fix}}
  exact: {{use: peft_adapter, model: $fix, ranks: exact}}
"""

PACKED = "  packed: {use: compressed_tensors, model: $quant}\n"  # which holds no reordered columns

CASES = [
    ("v1", "bits: 4, sym: true, act_order: off"),
    ("v1", "bits: 3, sym: true, act_order: desc"),
    ("v2", "bits: 2, sym: false, act_order: desc"),
    ("v2", "bits: 8, sym: false, act_order: off"),
]


def unpack(words, bits, count):
    """Codes along the first axis of [words, n]."""
    stream = (words.view(numpy.uint32)[:, None, :] >> numpy.arange(32, dtype=numpy.uint32)[None, :, None]) & 1
    stream = stream.reshape(-1, words.shape[1])[: count * bits].reshape(count, bits, -1)
    return (stream << numpy.arange(bits, dtype=numpy.uint32)[None, :, None]).sum(1).astype(numpy.int64)


def read_gptq(folder):
    """Plain weights of a GPTQ checkpoint, in f32."""
    config = json.loads((folder / "quantize_config.json").read_text())
    tensors, plain = load_torch(folder / "model.safetensors"), {}
    for name, tensor in tensors.items():
        if not name.endswith((".qweight", ".qzeros", ".scales", ".g_idx")):
            plain[name] = tensor
        if name.endswith(".qweight"):
            base, bits = name[: -len(".qweight")], config["bits"]
            g_idx, scales = tensors[base + ".g_idx"].numpy(), tensors[base + ".scales"].float().numpy()
            codes = unpack(tensor.numpy(), bits, g_idx.size)
            zeros = unpack(numpy.ascontiguousarray(tensors[base + ".qzeros"].numpy().T), bits, scales.shape[1]).T
            if config["checkpoint_format"] == "gptq":
                zeros = zeros + 1
            weight = scales[g_idx] * (codes - zeros[g_idx])
            plain[base + ".weight"] = torch.from_numpy(numpy.ascontiguousarray(weight.T).astype(numpy.float32))
    return plain


def read_packed(folder):
    """Plain weights of a compressed-tensors model by the library's functions, in f32: all bits and grids, which no loader takes."""
    groups = json.loads((folder / "config.json").read_text())["quantization_config"]["config_groups"]
    (group,) = groups.values()
    scheme, tensors, plain = QuantizationScheme(**group), load_torch(folder / "model.safetensors"), {}
    for name, tensor in tensors.items():
        if name.endswith(".weight_packed"):
            base = name[: -len("weight_packed")]
            parts = {key[len(base):]: value for key, value in tensors.items() if key.startswith(base + "weight_")}
            parts["weight_shape"] = torch.Size(parts["weight_shape"].tolist())
            parts["weight_scale"] = parts["weight_scale"].float()
            plain[base + "weight"] = PackedQuantizationCompressor.decompress(parts, scheme)["weight"]
        elif ".weight_" not in name:
            plain[name] = tensor
    return plain


def plain_model(folder, read=read_gptq):
    """The architecture of the folder's config with the weights that `read` finds there, in f32."""
    config = AutoConfig.from_pretrained(folder)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    missing, unexpected = model.load_state_dict(
        {name: tensor.float() for name, tensor in read(folder).items()}, strict=False
    )
    assert not unexpected, unexpected
    assert all(name == "lm_head.weight" and config.tie_word_embeddings for name in missing), missing
    model.tie_weights()
    return model


def losses(model, ids):
    with torch.no_grad():
        logits = torch.log_softmax(model(ids[:, :-1]).logits.float(), -1)
    return -logits.gather(-1, ids[:, 1:, None]).squeeze(-1).numpy()


def ours(run, stage, loss):
    """Of every token's successor: the last token of a window has none. An evaluator that also scored what an export wrote left two
    files: `loss` tells which."""
    found = [load_file(file)["nll"].reshape(-1, SEQLEN)[:, :-1] for file in run.glob(f"nll-{stage}-*.safetensors")]
    return min(found, key=lambda nll: abs(nll.mean(dtype=numpy.float64) - loss))


def compare(what, got, expected):
    off = float(numpy.abs(got - expected).max())
    print(f"  {what:48} {got.size} tokens, mean {got.mean():.6f} (ours {expected.mean():.6f}), largest difference {off:.2e}")
    return off <= TOLERANCE


def one(qloom, fixtures, name, version, quant, work):
    model, text = fixtures / "models" / name, work / "eval.txt"
    text.write_text((fixtures / "bundled" / "eval.txt").read_text()[:BYTES])
    file = work / "pipeline.yaml"
    file.write_text(PIPELINE.format(model=model, calib=fixtures / "bundled" / "calib.txt", text=text, seqlen=SEQLEN,
                                    quant=quant, version=version, packed=PACKED if "off" in quant else ""))
    table = subprocess.run([qloom, "run", "-q", "-f", "json", file, "--runs", work / "runs"], check=True,
                           stdout=subprocess.PIPE)
    metrics = json.loads(table.stdout)[0]["metrics"]
    (run,) = (work / "runs").glob("peers-*")
    print(f"{name}: {quant}, {version}")
    ids = AutoTokenizer.from_pretrained(run / "ckpt").encode(text.read_text(), add_special_tokens=False)
    ids = torch.tensor(ids[: len(ids) // SEQLEN * SEQLEN]).reshape(-1, SEQLEN)
    bare, fixed = ours(run, "bare", metrics["bare.loss"]), ours(run, "fixed", metrics["fixed.loss"])
    rounded = ours(run, "fixed", metrics["merged.fixed.loss"])
    ok = compare("checkpoint, numpy reader", losses(plain_model(run / "ckpt"), ids), bare)
    for mode in ("portable", "exact"):
        worn = PeftModel.from_pretrained(plain_model(run / "ckpt"), run / mode).eval()
        ok = compare(f"checkpoint + adapter ({mode}), peft", losses(worn, ids), fixed) and ok
    if (run / "packed").exists():
        ok = compare("compressed-tensors, its own functions", losses(plain_model(run / "packed", read_packed), ids), bare) and ok
    if (run / "packed").exists() and "sym: true" in quant:
        packed = AutoModelForCausalLM.from_pretrained(run / "packed", dtype=torch.float32, attn_implementation="eager")
        ok = compare("compressed-tensors, transformers", losses(packed.eval(), ids), bare) and ok
    merged = AutoModelForCausalLM.from_pretrained(run / "merged", dtype=torch.float32, attn_implementation="eager")
    return compare("merged, 16 bit, transformers", losses(merged.eval(), ids), rounded) and ok


def main():
    qloom, fixtures = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    bad = 0
    for name in ("tiny-llama", "tiny-qwen2", "tiny-qwen3"):
        for version, quant in CASES:
            with tempfile.TemporaryDirectory() as work:
                bad += not one(qloom, fixtures, name, version, quant, pathlib.Path(work))
    print(f"{12 - bad} passed, {bad} failed")
    sys.exit(bad > 0)


main()
