"""Tokenizers against the public `tokenizers` library: the same ids for the texts of data sets and for random strings.

    python tests/peers/tokenizer_ids.py QLOOM FIXTURES [STRINGS]

needs `pip install tokenizers`. Families are the tokenizers of FIXTURES as they are, and others' pre-tokenizers and normalizers on the
vocabulary of one of them. STRINGS (default 100000) random strings a family are drawn from code points that Unicode 14 assigns, which is
what Python 3.11 and the PCRE2 of Debian 12 know. Prints a line for each family and text; status 1 where ids differ.
"""
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

from tokenizers import Tokenizer

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|"
             r"\s+(?!\S)|\s+")


def byte_level(regex=False, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*items):
    return {"type": "Sequence", "pretokenizers": list(items)}


DIGITS = {"type": "Digits", "individual_digits": True}
NUMBERS = {"type": "Digits", "individual_digits": False}
MARK = "\u2581"

# name: (fixture whose vocabulary it takes, what it has in place of the fixture's)
FAMILIES = {
    "qwen3": ("qwen3", {}),
    "llama2": ("llama2", {}),
    "mistral": ("mistral", {}),
    "smollm2": ("qwen3", {"normalizer": None, "pre_tokenizer": sequence(DIGITS, byte_level(regex=True))}),
    "gpt2": ("qwen3", {"normalizer": None, "pre_tokenizer": byte_level(regex=True)}),
    "gpt2, prefix": ("qwen3", {"normalizer": None, "pre_tokenizer": byte_level(regex=True, prefix=True)}),
    "llama3": ("qwen3", {"normalizer": None, "pre_tokenizer": sequence(split(LLAMA3), byte_level())}),
    "llama3, removed": ("qwen3", {"pre_tokenizer": sequence(split(LLAMA3, "Removed", True), byte_level())}),
    "tekken": ("qwen3", {"normalizer": None, "pre_tokenizer": sequence(split(TEKKEN), byte_level())}),
    "deepseek": ("qwen3", {"normalizer": None, "pre_tokenizer": sequence(
        split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"), DIGITS,
        byte_level())}),
    "deepseek3": ("qwen3", {"normalizer": None, "pre_tokenizer": sequence(
        split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(DEEPSEEK3), byte_level())}),
    "falcon3": ("qwen3", {"pre_tokenizer": sequence({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(regex=True), NUMBERS)}),
    "gemma": ("llama2", {"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": MARK},
                         "pre_tokenizer": split(" ", "MergedWithPrevious", kind="String")}),
    "metaspace": ("llama2", {"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first",
                                                                  "split": True}}),
    "merged": ("qwen3", {"pre_tokenizer": sequence(split(r"\s+", "MergedWithNext"), split(r"\p{P}", "MergedWithPrevious"),
                                                   split(r"\d", "Contiguous", True), byte_level())}),
    "words": ("qwen3", {"normalizer": None, "pre_tokenizer": sequence(split(r"\b\w+\b|\h"), split(r"(?m:.)\B."), byte_level())}),
    "NFKC": ("qwen3", {"normalizer": {"type": "NFKC"}}),
    "NFD, lowercase": ("qwen3", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}]}}),
    "strip, replace": ("qwen3", {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Strip", "strip_left": True, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": r" {2,}|\p{Sk}"}, "content": " "}]}}),
}


def pools():
    assigned = [c for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    marks = [c for c in assigned if unicodedata.category(chr(c))[0] == "M"]
    spaces = [c for c in assigned if unicodedata.category(chr(c))[0] == "Z"] + [9, 10, 11, 12, 13, 0x85]
    numbers = [c for c in assigned if unicodedata.category(chr(c))[0] == "N"]
    return [assigned, list(range(32, 127)), list(range(32, 127)), list(range(0x250)), marks, spaces, spaces, numbers,
            [ord(c) for c in "'stSTrevmldEVMLD\u017f\u212a "], list(range(0x4e00, 0x5000)) + list(range(0xac00, 0xac80))]


def random_strings(count, seed):
    rng, choices = random.Random(seed), pools()
    out = []
    for _ in range(count):
        parts = []
        for _ in range(rng.randint(1, 8)):
            pool = rng.choice(choices)
            parts.append("".join(chr(rng.choice(pool)) for _ in range(rng.randint(1, 8))))
        if rng.random() < 0.05:
            parts.insert(rng.randint(0, len(parts)), rng.choice(["<s>", "</s>", "<|im_end|>", "<unk>"]))
        out.append("".join(parts))
    return out


def ours(qloom, folder, texts):
    lines = "".join(json.dumps(t) + "\n" for t in texts)
    run = subprocess.run([qloom, "tokenize", folder, "--jsonl"], input=lines.encode(), capture_output=True, check=True)
    return [json.loads(line) for line in run.stdout.decode().splitlines()]


def data_sets(fixtures):
    folder = os.path.join(fixtures, "datasets")
    with open(os.path.join(folder, "wikitext2", "wiki.test.raw"), encoding="utf-8", newline="") as f:
        wiki = f.read()
    with open(os.path.join(folder, "c4", "c4-sample.jsonl"), encoding="utf-8") as f:
        c4 = [json.loads(line)["text"] for line in f]
    return {"WikiText-2 test": wiki.split("\n"), "WikiText-2, one text": [wiki], "C4 sample": c4}


def main():
    qloom, fixtures = sys.argv[1], sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 100000
    sets = dict(data_sets(fixtures), random=random_strings(count, 14))
    failed = 0
    for name, (base, changes) in FAMILIES.items():
        with open(os.path.join(fixtures, "tokenizers", base, "tokenizer.json"), encoding="utf-8") as f:
            tokenizer = dict(json.load(f), **changes)
        text = json.dumps(tokenizer)
        theirs = Tokenizer.from_str(text)
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f:
                f.write(text)
            for title, texts in sets.items():
                got = ours(qloom, folder, texts)
                expected = [e.ids for e in theirs.encode_batch(texts, add_special_tokens=False)]
                wrong = [i for i, (a, b) in enumerate(zip(got, expected)) if a != b] if len(got) == len(expected) else [0]
                failed += bool(wrong)
                print(f"{name:16} {title:22} {len(texts) - len(wrong):7} of {len(texts)} equal, {sum(map(len, expected))} ids", flush=True)
                for i in wrong[:3]:
                    print(f"    {texts[i][:200]!r}\n    got      {got[i][:40]}\n    expected {expected[i][:40]}")
    sys.exit(1 if failed else 0)


main()
