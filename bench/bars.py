"""What ProjQ and SRR promise, on real small models: less error left behind the adapter, and less loss, than their rivals.

    python3 bench/bars.py build/release/bin/qloom FIXTURES RUNS [MODEL[:DRAWS]...]

FIXTURES is the folder with models/ and datasets/, RUNS a folder for the runs. Prints a row per comparison: `energy`, the mean over the
linears of tr(E H E^T) / tr(W H W^T) behind an adapter of that rank, and `loss`, per token; both as ours / the rival's, with z of the
paired difference over evaluation windows. ProjQ is judged at equal damping against GPTQ, both followed by LoRDQ. With DRAWS the windows
of calibration and evaluation are drawn that often, by the seeds 1, 2, ...; all draws count, and each draw's z is printed.
"""
import array
import glob
import json
import math
import os
import sqlite3
import statistics
import struct
import subprocess
import sys

SAMPLES, SEQLEN, GROUP = 64, 256, 32
MODELS = ["stories260K", "tiny-qwen2", "tiny-qwen3"]

COMMON = """qloom: 1
name: {name}
seed: {seed}
{top}
stages:
  base: {{use: auto, path: {fixtures}/models/{model}}}
  calib: {{use: text, path: {fixtures}/datasets/tinystories/train.txt, samples: {samples}, seqlen: {seqlen}}}
  eval: {{use: text, path: {fixtures}/datasets/tinystories/valid.txt, samples: {samples}, seqlen: {seqlen}}}
  error: {{use: layer_error, model: $fix, calib: $calib{judge}}}
  ppl: {{use: perplexity, model: $fix, data: $eval, save_nll: true}}
"""

PROJQ = """  quant: {{use: gptq, model: $base, calib: $calib, group_size: {group}, sym: false, damp: 0.1}}
  fix: {{use: lordq, model: $quant, calib: $calib{fix}}}
matrix:
  quant: [{{use: gptq}}, {{use: projq, rank: 4, label: projq4}}, {{use: projq, rank: 8, label: projq8}}]
  quant.bits: [2, 3]
  fix.rank: [4, 8]
exclude: [{{quant.rank: 4, fix.rank: 8}}, {{quant.rank: 8, fix.rank: 4}}]
"""

SRR = """  quant: {{use: mxint, model: $base, bits: 3, group_size: {group}}}
  fix: {{use: qera, model: $quant, calib: $calib}}
matrix:
  fix: [{{use: qera}}, {{use: srr}}]
  fix.rank: [4, 8, 16]
"""

# name: a line of the file, then keys of the compensator and of the judge
STREAMS = {
    "default": ("", "", ""),
    "original": ("propagate: original", "", ""),
    "release": ("", ", propagate: compensated", ", propagate: compensated"),
}


def windows(file):
    """Mean loss of each window of a file of per-token losses; the last token of a window has none."""
    with open(file, "rb") as f:
        header = f.read(struct.unpack("<Q", f.read(8))[0])
        values = array.array("f", f.read())
    if [name for name in json.loads(header) if name != "__metadata__"] != ["nll"]:
        sys.exit(f"{file}: expected one tensor, nll")
    return [math.fsum(values[i:i + SEQLEN - 1]) / (SEQLEN - 1) for i in range(0, len(values), SEQLEN)]


def run(program, runs, name, text):
    """{(quantizer, bits, compensator, rank): (energy, losses of the windows)}"""
    pipeline = os.path.join(runs, name + ".yaml")
    with open(pipeline, "w") as f:
        f.write(text)
    done = subprocess.run([program, "run", pipeline, "--quiet", "--runs", runs], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    db = sqlite3.connect(os.path.join(runs, "results.db"))
    number, key = db.execute("SELECT id, name FROM run WHERE name LIKE ? AND finished IS NOT NULL ORDER BY finished DESC",
                             (name + "-%",)).fetchone()
    files = [windows(f) for f in glob.glob(os.path.join(runs, key, "nll-*.safetensors"))]
    cells = {}
    for cell, loss in db.execute("SELECT c.id, f.value FROM cell c JOIN cell_node n ON n.cell = c.id JOIN fact f USING (node) "
                                 "WHERE c.run = ? AND c.baseline = 0 AND f.name = 'loss' AND f.block = -1", (number,)):
        label = dict(db.execute("SELECT reference, label FROM label WHERE cell = ?", (cell,)))
        energy = statistics.fmean(v * v for v, in db.execute(
            "SELECT f.value FROM cell_node n JOIN fact f USING (node) WHERE n.cell = ? AND f.name = 'output_error' "
            "AND f.linear IS NOT NULL", (cell,)))
        nll = min(files, key=lambda w: abs(statistics.fmean(w) - loss))
        if abs(statistics.fmean(nll) - loss) > 1e-6:
            sys.exit(f"{key}: no file of losses has the mean {loss}")
        cells[label["quant.use"], label.get("quant.bits", "3"), label["fix.use"], int(label["fix.rank"])] = energy, nll
    return cells


def z_of(difference):
    return statistics.fmean(difference) / (statistics.stdev(difference) / math.sqrt(len(difference)))


def compare(what, draws, ours, rival, needed):
    """One row; the bar is energy below the rival's and, where `needed` is not None, a loss below it by that many z."""
    differences = [[b - a for a, b in zip(cells[ours][1], cells[rival][1])] for cells in draws]
    difference = [d for draw in differences for d in draw]
    energy = statistics.fmean(cells[ours][0] for cells in draws) / statistics.fmean(cells[rival][0] for cells in draws)
    before, z = statistics.fmean(loss for cells in draws for loss in cells[rival][1]), z_of(difference)
    passed = energy < 1 and (needed is None or z >= needed)
    alone = f"   draws {' '.join(f'{z_of(d):.1f}' for d in differences)}" if len(draws) > 1 else ""
    print(f"{what:52} energy {energy:6.4f}   loss {before:.4f} {-statistics.fmean(difference):+.4f}   z {z:6.2f}   "
          f"{'pass' if passed else 'FAIL'}{alone}", flush=True)
    return passed


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    program, fixtures, runs = sys.argv[1], os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])
    fill = {"fixtures": fixtures, "samples": SAMPLES, "seqlen": SEQLEN, "group": GROUP}
    passed = []
    os.makedirs(runs, exist_ok=True)
    for word in sys.argv[4:] or MODELS:
        model, _, draws = word.partition(":")
        seeds = range(1, int(draws or 1) + 1)
        for stream, (top, fix, judge) in STREAMS.items():
            name = f"projq-{model.lower()}-{stream}"
            cells = [run(program, runs, f"{name}-{seed}", (COMMON + PROJQ).format(
                name=f"{name}-{seed}", model=model, top=top, fix=fix, judge=judge, seed=seed, **fill)) for seed in seeds]
            for bits in "23":
                for rank in 4, 8:
                    passed.append(compare(f"{model} {stream} {bits} bit rank {rank}: projq / gptq", cells,
                                          (f"projq{rank}", bits, "lordq", rank), ("gptq", bits, "lordq", rank),
                                          3 if bits == "3" else None))
        name = f"srr-{model.lower()}"
        cells = [run(program, runs, f"{name}-{seed}", (COMMON + SRR).format(
            name=f"{name}-{seed}", model=model, top="", judge="", seed=seed, **fill)) for seed in seeds]
        for rank in 4, 8, 16:
            passed.append(compare(f"{model} mxint 3 bit rank {rank}: srr / qera", cells, ("mxint", "3", "srr", rank),
                                  ("mxint", "3", "qera", rank), 0))
    print(f"{sum(passed)} of {len(passed)} pass")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
