"""Throughput of qloom's tokenizers against the public `tokenizers` library: one thread each, CPU time, interleaved in one run.

    python bench/tokenizer.py build/release/bin/bench-tokenizer TOKENIZER_FOLDER... -- TEXT_FILE...

needs `pip install tokenizers`. Prints per tokenizer and text the median ratio of pairs, and its range; both sides must give the same
number of ids.
"""
import os
import platform
import statistics
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import tokenizers  # noqa: E402: reads the environment

REPETITIONS = 5


def cpu_model():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())


def theirs(tokenizer, text):
    begin = time.process_time()
    encoding = tokenizer.encode(text, add_special_tokens=False)
    return time.process_time() - begin, len(encoding)


def ours(program, folder, file):
    lines = subprocess.run([program, folder, file], check=True, capture_output=True, text=True).stdout.split()
    return float(lines[0]), float(lines[1]), int(lines[2])


def compare(program, folder, file):
    begin = time.process_time()
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    opened = [time.process_time() - begin]
    with open(file, encoding="utf-8", newline="") as f:
        text = f.read()
    megabytes = os.path.getsize(file) / 1e6
    theirs(tokenizer, text)
    pairs = []
    for _ in range(REPETITIONS):
        a, count = theirs(tokenizer, text)
        opened_here, b, same = ours(program, folder, file)
        if count != same:
            sys.exit(f"{folder}, {file}: {same} ids, the library gives {count}")
        opened.append(opened_here)
        pairs.append((a, b))
    ratios = [a / b for a, b in pairs]
    mine = [megabytes / b for _, b in pairs]
    noisy = ", noisy" if max(mine) / min(mine) > 1.3 else ""
    print(f"{os.path.basename(folder.rstrip('/')):12} {os.path.basename(file):18} "
          f"library {megabytes / statistics.median(a for a, _ in pairs):6.2f} MB/s  "
          f"qloom {statistics.median(mine):6.2f} MB/s  "
          f"ratio {statistics.median(ratios):5.1f} ({min(ratios):.1f} to {max(ratios):.1f}{noisy})  "
          f"open {opened[0]:.2f} s, {statistics.median(opened[1:]):.2f} s")


def main():
    if "--" not in sys.argv or len(sys.argv) < 5:
        sys.exit(__doc__)
    cut = sys.argv.index("--")
    print(f"{cpu_model()}, tokenizers {tokenizers.__version__}, Python {platform.python_version()}")
    for folder in sys.argv[2:cut]:
        for file in sys.argv[cut + 1:]:
            compare(sys.argv[1], folder, file)


main()
