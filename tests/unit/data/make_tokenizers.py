"""Made-up tokenizers for tests/unit/tokenizer.c, with what the public `tokenizers` library (0.23) makes of some texts.

    python make_tokenizers.py > made_up_tokenizers.jsonl

A line: name, tokenizer (the text of a tokenizer.json), rows of [text, ids, ids with special tokens, decoded, decoded without
special tokens].
"""
import json
import random

from tokenizers import Tokenizer

MARK = "\u2581"
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|"
           r"\s*[\r\n]+|\s+(?!\S)|\s+")
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
LEGACY = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": MARK},
                                              {"type": "Replace", "pattern": {"String": " "}, "content": MARK}]}
DECODER = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": MARK}, "content": " "},
                                            {"type": "ByteFallback"}, {"type": "Fuse"},
                                            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
TOKENS = [MARK, "a", "b", "c", "d", " ", "<", ">", "ab", "bc", "abc", MARK + "a", MARK + "ab", "cd", MARK + MARK, "<unk>"]
MERGES = ["a b", "b c", "ab c", MARK + " a", MARK + " ab", "c d", MARK + " " + MARK]


def byte_alphabet():
    own = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b]
    others = [b for b in range(256) if b not in own]
    return [chr(b) if b in own else chr(256 + others.index(b)) for b in range(256)]


def model(tokens, merges, **flags):
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, **flags, "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}


def plain(tokens=TOKENS, merges=MERGES, added=(), flags=None, **parts):
    n = len(tokens)
    off = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{"id": n + i, "content": content, **off, **on} for i, (content, on) in enumerate(added)],
            "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None, **parts,
            "model": model(tokens, merges, **({"unk_token": "<unk>"} if flags is None else flags))}


def byte_level(digits, **flags):
    tokens = byte_alphabet() + ["ab", "abc", "bc", "\u0120a", "\u0120ab", "12", "123", "'s", "\u0120\u0120"]
    merges = ["b c", "a b", "1 2", "12 3", "' s", "\u0120 \u0120"]
    n = len(tokens)
    special = {"special": True}
    template = {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<B>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                           {"SpecialToken": {"id": "<E>", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {"<B>": {"id": "<B>", "ids": [n], "tokens": ["<B>"]},
                                   "<E>": {"id": "<E>", "ids": [n + 1], "tokens": ["<E>"]}}}
    split = {"type": "Split", "pattern": {"Regex": PATTERN % digits}, "behavior": "Isolated", "invert": False}
    return plain(tokens, merges, added=[("<B>", special), ("<E>", special)], flags=flags,
                 normalizer={"type": "NFC"} if digits == r"\p{N}" else None,
                 pre_tokenizer={"type": "Sequence", "pretokenizers": [split, BYTE_LEVEL]},
                 post_processor={"type": "Sequence", "processors": [BYTE_LEVEL, template]}, decoder=BYTE_LEVEL)


def metaspace(scheme, split):
    return plain(added=[("<x>", {})], decoder=DECODER,
                 pre_tokenizer={"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": split})


def random_texts():
    pool = ("aZ\u00e9\u4e00\u05d0 \t\n\r\u00a0\u3000\u2028'sStlLvVeErRmMdD.,!?-_()19\u0663\u2163\u00bd\u0301\u093f\u17b4\U0001f600"
            "\u200d\u017f\u212a\ud7a3\u1100")
    rng = random.Random(5)
    return ["".join(rng.choice(pool) for _ in range(rng.randint(1, 40))) for _ in range(120)]


SPACES = ["abc", "a b", "ab  abc", "  ab", " ", " a ", "\u2581ab", "abcd abcd", "", "b ab\u2581\u2581a"]
ADDED = [("<l>", {"lstrip": True}), ("<r>", {"rstrip": True}), ("<b>", {"lstrip": True, "rstrip": True}),
         ("ca", {"single_word": True}), ("<n>", {"normalized": True}), ("<l>a", {}),
         ("bca", {"normalized": True, "single_word": True})]
ADDED_TEXTS = ["a <l> a", "a <r> a", "a  <b>\u3000\n a", "<l><r><b>", "a<l>b", "ca", "a ca b", "aca", "caa", "ca ca", "_ca", "-ca-",
               "\u0301ca", "ca\u24d0", "ca\u00b2", "<n>", "a <n>b", "a<l>a", "<l>", "  <l>  <r>  <b>  ", "<r> <l>",
               "<r>  <r>  a", "bca", "a bca", "abca", "bca bca"]
UNKNOWN = ["axyz", "xyzaxx", "xx", "\u00e9\u00e8a"]
WORDS = ["  Hello", "I'll 1234", "a\n\n b", "!!\n\nx", "x   ", "(foo", "abc", " ab abc", "it'S it'\u017f it'LL 'x",
         "12345\u00b2\u00bd\u2167", "a\u0301b \u0301c", "\u00a0\u3000x\u0085y", "\r\n\r\n a\t\tb", "<B>abc<E>",
         "e\u0301 \u00e9 \uac00\u1100\u1161", "  \n  x", "tab\tx", " ?!\r\n\nx", "\u0e01\u0e33x \U0001f600\U0001f600",
         "\u1e9b\u0323", "\u0344\u0340", "q\u0307\u0323\u0307", "\u0958", "\u1100\u1161\u11a8", "a\u0315\u0300\u05aeb"]
CASES = [(f"metaspace {scheme} {split}", metaspace(scheme, split), SPACES + ["ab<x>ab", "<x>ab", " <x> ab<x><x>"])
         for scheme in ("first", "always", "never") for split in (True, False)]
CASES += [
    ("metaspace, old spelling", plain(pre_tokenizer={"type": "Metaspace", "replacement": MARK, "add_prefix_space": True}), SPACES),
    ("merges over marks", plain(TOKENS + ["b" + MARK, "ab" + MARK + "a"], MERGES + ["b " + MARK, "ab " + MARK + "a"],
                                normalizer=LEGACY, decoder=DECODER), SPACES + ["b b b ab ab a"]),
    ("added, legacy", plain(added=ADDED, normalizer=LEGACY, decoder=DECODER), ADDED_TEXTS),
    ("added", plain(added=ADDED), ADDED_TEXTS),
    ("fuse_unk", plain(flags={"unk_token": "<unk>", "fuse_unk": True}), UNKNOWN),
    ("unk", plain(), UNKNOWN),
    ("byte_fallback", plain(TOKENS + ["<0xC3>", "<0xA9>", "<0xE2>", "<0x82>", "<0xAC>"], decoder=DECODER,
                            flags={"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}),
     ["a\u00e9b", "\u20aca", "\u00e9\u00e9"]),
    ("ranks", plain(TOKENS + ["aa", "aaa", "aaaa"], ["a a", "aa a", "aa aa"] + MERGES),
     ["a" * n for n in (1, 2, 3, 4, 5, 7, 60, 121)] + ["abc" * 40, "ab" * 30 + "c" * 9]),
    ("merges as arrays", plain(["a", "b", " ", "a b", " b"], [[" ", "b"], ["a", " b"]], flags={}), ["a b", "aa bb", "a  b"]),
    ("ignore_merges", byte_level(r"\p{N}{1,3}", ignore_merges=True), WORDS),
    ("three digits", byte_level(r"\p{N}{1,3}"), WORDS + random_texts()),
    ("one digit, NFC", byte_level(r"\p{N}"), WORDS + random_texts()),
]

for name, tokenizer, texts in CASES:
    text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    t = Tokenizer.from_str(text)
    rows = []
    for x in texts:
        ids = t.encode(x, add_special_tokens=False).ids
        rows.append([x, ids, t.encode(x).ids, t.decode(ids, skip_special_tokens=False), t.decode(ids)])
    print(json.dumps({"name": name, "tokenizer": text, "rows": rows}, ensure_ascii=False, separators=(",", ":")))
