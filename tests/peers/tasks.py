"""Usage: VENV/bin/python tasks.py QLOOM FIXTURES [MODEL]...: lm-eval on exported models gives the numbers of the walk that made them.

A model is quantized, wears an adapter, is scored on tasks in the walk and written as plain weights; then the public harness scores what was
written. Every log-likelihood is compared, and every number of right answers. See setup.sh.
"""
import json
import pathlib
import sqlite3
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOLERANCE = 2e-3  # in f32 on both sides
DOCUMENTS = 40
TASKS = {  # name, shots: the task file of ours on the same records
    ("piqa", 0): "task: piqa", ("piqa", 3): "task: piqa", ("winogrande", 2): "task: winogrande", ("storycloze", 0): "task: storycloze",
    ("arc_easy", 0): f"file: {HERE.parent}/tasks/arc_easy.yaml", ("hellaswag", 0): f"file: {HERE.parent}/tasks/hellaswag.yaml",
    ("boolq", 0): "task: boolq",
}

STAGES = """qloom: 1
name: peers
baseline: false
device: cpu
stages:
  base: {{use: auto, path: {model}}}
  calib: {{use: text, path: {fixtures}/datasets/wikitext2/wiki.valid.raw, samples: 8, seqlen: 128}}
  quant: {{use: gptq, model: $base, calib: $calib, bits: 3, group_size: 32}}
  fix: {{use: lordq, model: $quant, calib: $calib, rank: 4}}
  merged: {{use: dequantized, model: $fix}}
"""


def run(command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def written(runs, folder, stage):
    """The walk scores the variant with its adapter and what was written of it, in 16 bits: the answers of the latter."""
    margin, = sqlite3.connect(runs / "results.db").execute(
        "SELECT f.value FROM cell_node n JOIN fact f USING (node) WHERE n.stage = 'merged' AND n.prefix = ? || '.' AND f.name = 'margin'",
        [stage]).fetchone()
    files = [[json.loads(line) for line in file.read_text().splitlines()] for file in folder.glob(f"answers-{stage}-*.jsonl")]
    assert len(files) == 2
    return min(files, key=lambda lines: abs(sum(line["margin"] for line in lines) / len(lines) - margin))


def one(qloom, fixtures, model, work):
    sys.path.insert(0, str(HERE))
    from harness import TASKS as files

    text = STAGES.format(model=model, fixtures=fixtures)
    for (name, shots), task in TASKS.items():
        text += (f"  d_{name}_{shots}: {{use: tasks, {task}, path: {fixtures}/{files[name][0]}, shots: {shots}, limit: {DOCUMENTS}, "
                 f"max_length: 2048, allow_long: true}}\n"
                 f"  {name}_{shots}: {{use: choices, model: $fix, data: $d_{name}_{shots}, save: true}}\n")
    (work / "p.yaml").write_text(text)
    run([qloom, "run", work / "p.yaml", "--runs", work / "runs"])
    folder, = (work / "runs").glob("peers-*")
    merged, = (p.parent for p in folder.glob("**/config.json"))
    words = [f"{name}:{shots}" for name, shots in TASKS]
    run([sys.executable, HERE / "harness.py", merged, fixtures, work / "theirs", *words, "--docs", str(DOCUMENTS), "--max-length", "2048"])
    good = True
    for name, shots in TASKS:
        ours = written(work / "runs", folder, f"{name}_{shots}")
        theirs = [json.loads(line) for line in (work / "theirs" / f"{name}.{shots}.jsonl").read_text().splitlines()]
        off = max(abs(a - b) for x, y in zip(ours, theirs) for a, b in zip(x["ll"], y["ll"]))
        right = [sum(line["acc"] for line in lines) for lines in (ours, theirs)]
        same = len(ours) == len(theirs) == DOCUMENTS and off < TOLERANCE and right[0] == right[1]
        good = good and same
        print(f"{pathlib.Path(model).name}, {name}, {shots} shots: off by {off:.1e} at most, right {right[0]} and {right[1]:.0f}"
              f"{'' if same else ' DIFFERS'}", flush=True)
    return good


def main():
    qloom, fixtures, models = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    good = True
    for model in models or [fixtures / "models" / name for name in ("tiny-llama", "tiny-qwen2", "tiny-qwen3")]:
        with tempfile.TemporaryDirectory() as work:
            good = one(qloom, fixtures, model, pathlib.Path(work)) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
