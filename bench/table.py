"""A table in one walk against its distinct parts and against cell by cell, in processor time on one thread.

    python3 bench/table.py build/release/bin/qloom FIXTURES RUNS [MODEL]

The table is {rtn, gptq} x {none, svd, lqer, lordq} x {3, 4 bit} at `propagate: original`, 128 calibration and 32 evaluation windows of 256
tokens. Parts are timed alone, as differences of runs: B the original model loaded and evaluated, C the calibration stream with its
statistics, E an evaluation stream, quantizers and compensators. Every cell must give the same losses, bit for bit, alone and in company.
"""
import glob
import os
import subprocess
import sys

QUANTIZERS, COMPENSATORS, BITS = ["rtn", "gptq"], ["none", "svd", "lqer", "lordq"], [3, 4]

TEXT = """qloom: 1
name: {name}
seed: 1
propagate: original
stages:
  base: {{use: auto, path: {fixtures}/models/{model}}}
  eval: {{use: text, path: {fixtures}/datasets/tinystories/valid.txt, samples: 32, seqlen: 256}}
"""
CELL = """  calib: {{use: text, path: {fixtures}/datasets/tinystories/train.txt, samples: 128, seqlen: 256}}
  quant: {{use: {quant}, model: $base, calib: $calib, bits: {bits}, group_size: 32}}
  fix: {{use: {fix}, model: $quant, calib: $calib}}
  ppl: {{use: perplexity, model: $fix, data: $eval, save_nll: true}}
"""
ERROR = "  error: {{use: layer_error, model: $fix, calib: $calib}}\n"
ORIGINAL = "  ppl: {{use: perplexity, model: $base, data: $eval}}\n"
MATRIX = """matrix:
  quant: [{quants}]
  fix: [{fixes}]
  quant.bits: {widths}
"""


def run(program, runs, name, text):
    """Processor seconds of a run, and the files of losses as {bytes}."""
    folder = os.path.join(runs, name)
    os.makedirs(folder, exist_ok=True)
    pipeline = os.path.join(folder, "pipeline.yaml")
    with open(pipeline, "w") as f:
        f.write(text)
    child = subprocess.Popen([program, "--threads", "1", "--quiet", "run", pipeline, "--fresh", "--runs", folder],
                             stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{name}: exit status {os.waitstatus_to_exitcode(status)}")
    losses = set()
    for file in glob.glob(os.path.join(folder, "*", "nll-*.safetensors")):
        with open(file, "rb") as f:
            losses.add(f.read())
    return used.ru_utime + used.ru_stime, losses


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    program, runs = sys.argv[1], os.path.abspath(sys.argv[3])
    fill = {"fixtures": os.path.abspath(sys.argv[2]), "model": sys.argv[4] if len(sys.argv) > 4 else "tiny-qwen3"}
    cell = {"quant": "rtn", "fix": "none", "bits": 3}

    def timed(name, text, **more):
        return run(program, runs, name, (TEXT + text).format(name=name, **fill, **more))

    original, _ = timed("original", ORIGINAL)
    bare, _ = timed("bare", CELL, **cell)
    table, together = timed("table", CELL + ERROR + MATRIX, **cell, widths=BITS,
                            quants=", ".join(f"{{use: {q}}}" for q in QUANTIZERS),
                            fixes=", ".join(f"{{use: {f}}}" for f in COMPENSATORS))
    alone, apart = {}, set()
    for quant in QUANTIZERS:
        for fix in COMPENSATORS:
            for bits in BITS:
                name = f"{quant}-{fix}-{bits}"
                alone[quant, fix, bits], losses = timed(name, CELL + ERROR,
                                                        quant=quant, fix=fix, bits=bits)
                apart |= losses
    calibration = alone["rtn", "none", 3] - bare
    evaluation = bare - original
    parts = original + calibration
    for (quant, fix, bits), seconds in alone.items():
        first = fix == "none"
        parts += seconds - (original + calibration if first else alone[quant, "none", bits] - evaluation)
    every = sum(alone.values())
    print(f"table {table:.2f} s, its {len(alone)} cells alone {every:.2f} s, its distinct parts {parts:.2f} s "
          f"(B {original:.2f}, C {calibration:.2f}, E {evaluation:.2f})")
    print(f"table / parts      {table / parts:.3f}   bar 1.15")
    print(f"table / cells      {table / every:.3f}   bar 0.25")
    print(f"same losses        {'yes' if apart == together else 'NO'}")
    return 0 if apart == together else 1


if __name__ == "__main__":
    sys.exit(main())
