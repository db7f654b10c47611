"""Usage: VENV/bin/python adapters.py QLOOM FIXTURES: adapters made by PEFT itself, worn by PEFT and by qloom.

For each way of choosing modules, ranks and scales that adapter_config.json has, PEFT makes an adapter of a fixture model, with random
factors. The negative log-likelihood of every token, as PEFT computes it in fp64, is compared with qloom's. See setup.sh.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

SEQLEN = 96
BYTES = 3000
TOLERANCE = 2e-4  # ours in fp32

PIPELINE = """qloom: 1
name: worn
baseline: false
stages:
  base: {{use: auto, path: {model}, adapter: {adapter}}}
  eval: {{use: text, path: {text}, seqlen: {seqlen}, samples: 0, bos: 'no'}}
  ppl: {{use: perplexity, model: $base, data: $eval, save_nll: true}}
"""

CASES = {
    "a list of names": dict(r=4, target_modules=["q_proj", "v_proj"]),
    "a pattern": dict(r=4, target_modules=r".*\.(?:self_attn\.[qkv]|mlp\.(?!up)\w+)_proj"),
    "all-linear": dict(r=3, target_modules="all-linear"),
    "full names": dict(r=4, target_modules=["model.layers.1.self_attn.o_proj", "layers.3.mlp.down_proj", "gate_proj"]),
    "left out by name": dict(r=4, target_modules="all-linear", exclude_modules=["down_proj", "model.layers.1.mlp.up_proj"]),
    "left out by pattern": dict(r=4, target_modules=["q_proj", "up_proj"], exclude_modules=r".*layers\.[02]\..*"),
    "chosen layers": dict(r=4, target_modules=["k_proj", "down_proj"], layers_to_transform=[0, 2]),
    "one layer, its pattern": dict(r=4, target_modules=["k_proj", "o_proj"], layers_to_transform=3, layers_pattern="layers"),
    "ranks and alphas": dict(r=4, lora_alpha=6, target_modules="all-linear",
                             rank_pattern={"down_proj": 6, r"model\.layers\.2\.mlp\..*": 3, "layers.1.self_attn.q_proj": 7},
                             alpha_pattern={r"layers\.\d\.mlp\.(gate|up)_proj": 9, "o_proj": 2}),
    "first pattern counts": dict(r=2, target_modules=["q_proj", "k_proj"], rank_pattern={"layers.0.self_attn.q_proj": 3, "q_proj": 5}),
    "rslora": dict(r=8, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "up_proj"], rank_pattern={"up_proj": 3}),
    "names with .default.": dict(r=4, target_modules=["v_proj", "gate_proj"]),
    "bf16 factors": dict(r=4, lora_alpha=16, target_modules=["q_proj", "down_proj"]),
}


def make(model, case, config, folder):
    """Random factors for what `config` chooses; what PEFT saves, but for two cases."""
    torch.manual_seed(len(case))
    worn = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **config))
    for name, p in worn.named_parameters():
        if "lora_" in name:
            p.data = torch.randn_like(p) * (0.3 / p.shape[-1] ** 0.5)
    worn.save_pretrained(folder)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    if "default" in case:
        tensors = {name.replace(".weight", ".default.weight"): t for name, t in tensors.items()}
    if "bf16" in case:
        tensors = {name: t.to(torch.bfloat16) for name, t in tensors.items()}
    save_file(tensors, file, {"format": "pt"})
    return len(tensors)


def theirs(path, folder, ids, case):
    base = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64, attn_implementation="eager")
    if "default" in case:  # PEFT saves without it, and reads what older versions saved with it
        plain = folder.parent / "plain"
        shutil.copytree(folder, plain, dirs_exist_ok=True)
        file = plain / "adapter_model.safetensors"
        save_file({name.replace(".default.", "."): t for name, t in load_file(file).items()}, file, {"format": "pt"})
        folder = plain
    worn = PeftModel.from_pretrained(base, folder, autocast_adapter_dtype=False).double().eval()
    with torch.no_grad():
        logits = torch.log_softmax(worn(ids[:, :-1]).logits, -1)
    return -logits.gather(-1, ids[:, 1:, None]).squeeze(-1)


def ours(qloom, path, folder, text, work):
    file = work / "p.yaml"
    file.write_text(PIPELINE.format(model=path, adapter=folder, text=text, seqlen=SEQLEN))
    subprocess.run([qloom, "run", "-q", file, "--runs", work / "runs"], check=True, stdout=subprocess.DEVNULL)
    (found,) = (work / "runs").glob("worn-*/nll-ppl-*.safetensors")
    return load_file(found)["nll"].reshape(-1, SEQLEN)[:, :-1].double()


def main():
    qloom, fixtures = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    bad = 0
    for model in ("tiny-llama", "tiny-qwen3"):  # PEFT sorts the keys of patterns when it saves them
        path = fixtures / "models" / model
        for case, config in CASES.items():
            with tempfile.TemporaryDirectory() as name:
                work = pathlib.Path(name)
                text = work / "eval.txt"
                text.write_text((fixtures / "bundled" / "eval.txt").read_text()[:BYTES])
                ids = AutoTokenizer.from_pretrained(path).encode(text.read_text(), add_special_tokens=False)
                ids = torch.tensor(ids[: len(ids) // SEQLEN * SEQLEN]).reshape(-1, SEQLEN)
                plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
                count = make(plain, case, config, work / "adapter")
                expected, got = theirs(path, work / "adapter", ids, case), ours(qloom, path, work / "adapter", text, work)
                off = float((got - expected).abs().max())
                bad += not off <= TOLERANCE
                print(f"{model:11} {case:24} {count:3} tensors, {got.numel()} tokens, mean {expected.mean():.6f}, "
                      f"largest difference {off:.1e}", flush=True)
    print(f"{2 * len(CASES) - bad} passed, {bad} failed")
    sys.exit(bad > 0)


main()
