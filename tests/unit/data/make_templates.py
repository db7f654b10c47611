"""What Jinja (3.1) makes of templates, for tests/unit/template.c.

    python make_templates.py > templates.jsonl

A line: template, record, the text that Jinja renders with nothing trimmed; null where Jinja refuses or a field is missing.
"""
import json

import jinja2

RECORD = {
    "q": "Who?", "empty": "", "word": "ǆungla Straße ΟΔΟΣ", "space": " \u00a0a b\t\n", "n": 3, "minus": -7, "half": 0.5, "big": 1e16,
    "small": 1e-05, "yes": True, "no": False, "none": None, "list": ["a", "b", "c"], "mixed": [1, "x", 2.5, None, True],
    "choices": {"text": ["one", "two"], "label": ["A", "B"]}, "key": "B", "digits": "12", "quote": "it's", "both": "it's \"so\"",
    "line": "a\nb",
}
TEMPLATES = """
{{q}}|Question: {{q}}\\nAnswer:|{{ n }} of {{list|length}}|{{choices.label.index(key)}}|{{choices.text[choices.label.index(key)]}}
{{n + 1}}|{{n - 1}}|{{n - minus}}|{{ -n }}|{{1 + half}}|{{half}}|{{big}}|{{small}}|{{yes}}|{{no}}|{{none}}|{{yes + 1}}
{{list}}|{{mixed}}|{{[quote, both, line]}}|{{choices}}|{{list + ['d']}}|{{list[0]}}|{{list[-1]}}|{{list[1:]}}|{{list[:-1]}}|{{list[5:]}}
{{word[0]}}|{{word[-3:]}}|{{word.upper()}}|{{word.lower()}}|{{word.capitalize()}}|{{word|capitalize}}|{{quote|upper}}|{{word|length}}
{{space.strip()}}|{{space.lstrip()}}|{{space.rstrip()}}|{{space|trim}}|{{'xxaxx'.strip('x')}}|{{q.replace('W', 'w')}}|{{q|replace('o', '00')}}
{{'a b  c'.split()}}|{{'a,b,,c'.split(',')}}|{{'a b'.split(' ')[:-1]|join(' ')}}|{{' '.join(list)}}|{{list|join('-')}}|{{list|join}}
{{list|first}}|{{list|last}}|{{q|first}}|{{q|last}}|{{digits|int}}|{{digits|int + 1}}|{{' 5 '|int}}|{{'3.7'|int}}|{{half|int}}
{{'yes' if yes else 'no'}}|{{'yes' if empty else 'no'}}|{{'shown' if yes}}|{{'hidden' if no}}|{{q if n > 2 and not no else 'x'}}
{{n == 3}}|{{n != 3}}|{{1 == true}}|{{'3' == n}}|{{n < 4}}|{{n <= 3}}|{{n > 3}}|{{n >= 4}}|{{'a' < 'b'}}|{{'ab' < 'a'}}
{{'a' in list}}|{{'z' not in list}}|{{'h' in q}}|{{'text' in choices}}|{{not yes}}|{{not empty}}|{{no or 'default'}}|{{n and q}}|{{empty or none}}
{{'a' ~ n ~ half}}|{{n ~ 1 + 2}}|{{'x' + 'y' ~ 1}}|{{q.startswith('W')}}|{{q.endswith('?')}}|{{q.endswith('o')}}
{{choices['text'][0]}}|{{'\\n'}}{{'\\t'}}|{{"a'b"}}|{{'a"b'}}|{{q}}{{q}}|plain|{{(n + 1) - (n - 1)}}|{{[1, [2, 'x']]}}|{{list.index('c')}}|{{q.index('o')}}
{{'ab'[0:1]}}|{{word[1:3]}}|{{'é'.upper()}}|{{'ß'.upper()}}|{{'ǰx'.capitalize()}}|{{'ﬁne'.capitalize()}}|{{'ΑΣ ΣΑ Σ'.lower()}}|{{'İ'.lower()}}
{{missing}}|{{n.missing}}|{{list[9]}}|{{q +}}|{{(q}}|{{q|nosuch}}|{{q.nosuch()}}|{{n + q}}|{{list.index('z')}}|{{n in 3}}|{{'a' < 1}}|{{q}
"""


def main():
    env = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    for line in TEMPLATES.strip().split("\n"):
        for template in split(line):
            template = template.replace("\\\\n", "\n")
            try:
                text = env.from_string(template).render(**RECORD)
            except Exception:
                text = None
            print(json.dumps([template, text], ensure_ascii=False))


def split(line):
    """At bars outside of braces."""
    parts, depth = [""], 0
    for c in line:
        depth += (c == "{") - (c == "}")
        if c == "|" and depth <= 0:
            parts.append("")
            depth = 0
        else:
            parts[-1] += c
    return parts


if __name__ == "__main__":
    print(json.dumps(RECORD, ensure_ascii=False))
    main()
