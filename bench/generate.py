"""Generation against transformers: processor time of one thread, interleaved in one run, for one sequence and for a batch.

    python bench/generate.py build/release/bin/bench-generate MODEL_FOLDER GSM8K_JSONL [NEW [REPETITIONS]]

needs torch and transformers. Weights are the folder's: bf16 for qloom, which widens them as it multiplies, f32 for transformers, as its CPU
runs use them. Both generate NEW tokens (64) greedily from the first questions of the file; how many of the tokens are equal is printed, too.
"""
import json
import os
import statistics
import subprocess
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"
import torch  # noqa: E402: reads the environment
import transformers  # noqa: E402


def prompts_of(file, tokenizer, count):
    with open(file, encoding="utf-8") as f:
        lines = [json.loads(line) for line, _ in zip(f, range(count))]
    return [tokenizer(f"Question: {line['question']}\nAnswer:").input_ids for line in lines]


def theirs(model, prompts, new):
    longest = max(len(p) for p in prompts)
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    begin = time.process_time()
    with torch.no_grad():
        out = model.generate(ids, attention_mask=mask, max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0)
    return time.process_time() - begin, out[:, longest:].tolist()


def ours(program, folder, prompts, new):
    text = "\n".join(" ".join(map(str, p)) for p in prompts) + "\n"
    out = subprocess.run([program, folder, str(new)], input=text, check=True, capture_output=True, text=True).stdout.split("\n")
    first, rest = map(float, out[0].split())
    return first, rest, [list(map(int, line.split())) for line in out[1:] if line]


def compare(program, folder, model, prompts, new, repetitions):
    pairs, shares = [], []
    theirs(model, prompts, 2)
    for _ in range(repetitions):
        a, a_ids = theirs(model, prompts, new)
        first, rest, b_ids = ours(program, folder, prompts, new)
        pairs.append((a, first + rest))
        shares.append(first / (first + rest))
    equal = sum(x == y for a, b in zip(a_ids, b_ids) for x, y in zip(a, b))
    ratios = [a / b for a, b in pairs]
    print(f"{len(prompts)} x {new} tokens, prompts of {min(map(len, prompts))} to {max(map(len, prompts))}: "
          f"transformers {statistics.median(a for a, _ in pairs):.2f} s  qloom {statistics.median(b for _, b in pairs):.2f} s "
          f"({100 * statistics.median(shares):.0f} % of it prompts)  "
          f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); {equal} of {len(prompts) * new} tokens equal")


def main():
    program, folder, file = sys.argv[1:4]
    new = int(sys.argv[4]) if len(sys.argv) > 4 else 64
    repetitions = int(sys.argv[5]) if len(sys.argv) > 5 else 5
    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, load {os.getloadavg()[0]:.1f}")
    prompts = prompts_of(file, tokenizer, 8)
    for batch in (1, 8):
        compare(program, folder, model, prompts[:batch], new, repetitions)


main()
