"""What a task costs here and in the public harness: processor time of one thread for the same documents, the same answers.

    VENV/bin/python bench/tasks.py build/release/bin/qloom MODEL FIXTURES RUNS [TASK[:SHOTS[:BATCH[:DOCUMENTS]]]...]

MODEL is a model's folder, FIXTURES the folder with datasets/ and golden-eval/, RUNS a folder for what is written. VENV is made by
tests/peers/setup.sh. Of a task that is no mmlu the first DOCUMENTS (60) are asked. qloom runs before and after the harness and the cheaper
run counts; its time is that of the whole process, the harness's that of its calls of the model alone. A row a task, and whether every
log-likelihood agrees.
"""
import json
import pathlib
import resource
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent
TOLERANCE = 2e-3
OWN = {"arc_easy": "arc_easy", "arc_challenge": "arc_challenge", "hellaswag": "hellaswag", "openbookqa": "openbookqa"}
DEFAULT = ["piqa:0:8", "arc_easy:0:8", "hellaswag:0:8", "winogrande:0:8", "boolq:0:1", "openbookqa:0:8", "mmlu:0:1", "arc_easy:3:8",
           "mmlu:3:8", "hellaswag:3:1"]
sys.path.insert(0, str(HERE / "tests" / "peers"))

PIPELINE = """qloom: 1
name: {name}
device: cpu
baseline: false
stages:
  base: {{use: auto, path: {model}}}
  questions: {{use: tasks, {task}, path: {fixtures}/{path}, shots: {shots}{more}}}
  score: {{use: choices, model: $base, data: $questions, save: true}}
"""


def spent(command, **more):
    """Processor seconds of a command, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **more).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, text


def ours(qloom, model, fixtures, runs, name, shots, docs):
    path, _ = harness_tasks()[name]
    task = f"file: {HERE}/tests/tasks/{OWN[name]}.yaml" if name in OWN else f"task: {name}"
    more = f", limit: {docs}" if docs else ""
    if name == "mmlu":
        more += f", pool: {fixtures}/{path.replace('_test', '_dev')}"
    file = runs / f"{name}.{shots}.yaml"
    file.write_text(PIPELINE.format(name=f"{name}-{shots}", model=model, task=task, fixtures=fixtures, path=path, shots=shots, more=more))
    seconds, _ = spent([qloom, "run", str(file), "--runs", str(runs), "--fresh", "--threads", "1"])
    run = max(runs.glob(f"*{name}-{shots}*/answers-*.jsonl"), key=lambda p: p.stat().st_mtime)
    return seconds, [json.loads(line) for line in run.read_text().splitlines()]


def harness_tasks():
    from harness import TASKS

    return TASKS


def compare(name, shots, batch, docs, args):
    qloom, model, fixtures, runs = args
    docs = None if name == "mmlu" else docs
    first, answers = ours(qloom, model, fixtures, runs, name, shots, docs)
    harness = [sys.executable, str(HERE / "tests/peers/harness.py"), model, fixtures, str(runs), f"{name}:{shots}", "--batch", str(batch)]
    _, text = spent(harness + (["--docs", str(docs)] if docs else []))
    theirs = json.loads([line for line in text.splitlines() if line.startswith('{"task"')][-1])
    second, _ = ours(qloom, model, fixtures, runs, name, shots, docs)
    golden = [json.loads(line) for line in (runs / f"{name}.{shots}.jsonl").read_text().splitlines()]
    assert len(golden) == len(answers)
    off = max(abs(a - b) for x, y in zip(golden, answers) for a, b in zip(x["ll"], y["ll"]))
    seconds, count = min(first, second), len(answers)
    rates = [count / theirs["cpu_s"], count / seconds]
    print(f"| {name} | {shots} | {count} | {batch} | {rates[0]:.2f} | {rates[1]:.2f} | {rates[1] / rates[0]:.2f} |"
          f" {theirs['cpu_s']:.1f} | {first:.1f}, {second:.1f} | {off:.1e}{'' if off < TOLERANCE else ' DIFFERS'} |", flush=True)
    return off < TOLERANCE


def main():
    args = sys.argv[1], sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])
    args[3].mkdir(parents=True, exist_ok=True)
    print("| task | shots | documents | batch | harness, documents a second | qloom | ratio | harness, s | qloom, s | off at most |\n"
          "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    equal = [compare(name, int(shots or 0), int(batch or 8), int(docs or 60), args)
             for name, shots, batch, docs in ((word + ":::").split(":")[:4] for word in sys.argv[5:] or DEFAULT)]
    sys.exit(0 if all(equal) else 1)


if __name__ == "__main__":
    main()
