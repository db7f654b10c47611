"""Usage: VENV/bin/python harness.py MODEL FIXTURES OUT [TASK[:SHOTS]...] [--docs N] [--batch N] [--dtype D]: what lm-eval answers.

MODEL is a folder that transformers loads. Every task's answers are written to OUT/TASK.SHOTS.jsonl, a document a line with the
log-likelihood of each continuation, and a line about each is printed: documents, metrics, processor seconds of the model's work alone. One
thread.
"""
import argparse
import json
import os
import pathlib
import time

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import datasets
import lm_eval
import torch
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM

MMLU = ("{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:")

# The harness's own templates, on the field names of the files at hand.
TASKS = {
    "piqa": ("datasets/piqa/validation.jsonl", {
        "doc_to_text": "Question: {{goal}}\nAnswer:", "doc_to_choice": "{{[sol1, sol2]}}", "doc_to_target": "label"}),
    "arc_easy": ("datasets/arc-easy/validation.jsonl", {
        "doc_to_text": "Question: {{question}}\nAnswer:", "doc_to_choice": "choices", "doc_to_target": "gold"}),
    "arc_challenge": ("datasets/arc-challenge/validation.jsonl", {
        "doc_to_text": "Question: {{question}}\nAnswer:", "doc_to_choice": "choices", "doc_to_target": "gold"}),
    "hellaswag": ("datasets/hellaswag/validation.jsonl", {
        "doc_to_text": "{{context}}", "doc_to_choice": "endings", "doc_to_target": "label"}),
    "winogrande": ("datasets/winogrande/validation.jsonl", {
        "doc_to_text": lambda doc: int(doc["answer"]) - 1,
        "doc_to_choice": lambda doc: [doc["sentence"][: doc["sentence"].index("_")] + doc[k] for k in ("option1", "option2")],
        "doc_to_target": lambda doc: doc["sentence"][doc["sentence"].index("_") + 1 :].strip()}),
    "boolq": ("datasets/boolq/validation.jsonl", {
        "doc_to_text": "{{passage}}\nQuestion: {{question}}?\nAnswer:", "doc_to_choice": ["no", "yes"],
        "doc_to_target": "{{['no', 'yes'].index(answer)}}"}),
    "openbookqa": ("golden-eval/data/openbookqa.jsonl", {
        "doc_to_text": "question_stem", "doc_to_choice": "{{choices.text}}",
        "doc_to_target": "{{choices.label.index(answerKey.lstrip())}}"}),
    "mmlu": ("golden-eval/data/mmlu_anatomy_test.jsonl", {
        "doc_to_text": MMLU, "doc_to_choice": ["A", "B", "C", "D"], "doc_to_target": "answer", "fewshot_split": "dev",
        "fewshot_config": {"sampler": "first_n"},
        "description": "The following are multiple choice questions (with answers) about anatomy.\n\n"}),
    "storycloze": ("golden-eval/data/storycloze.jsonl", {
        "doc_to_text": "{{[input_sentence_1, input_sentence_2, input_sentence_3, input_sentence_4]|join(' ')}}",
        "doc_to_choice": "{{[sentence_quiz1, sentence_quiz2]}}", "doc_to_target": "{{answer_right_ending|int - 1}}"}),
}


def make_task(name, fixtures, shots):
    path, config = TASKS[name]
    files = {"validation": str(fixtures / path)}
    if config.get("fewshot_split"):
        files["dev"] = str(fixtures / path.replace("_test", "_dev"))
    metrics = [{"metric": m} for m in (["acc"] if name in ("winogrande", "mmlu") else ["acc", "acc_norm"])]
    task = ConfigurableTask(config={
        "task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": files}, "output_type": "multiple_choice",
        "validation_split": "validation", "num_fewshot": shots, "metric_list": metrics, **config})
    task.set_fewshot_seed(1234)
    return task


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model"), parser.add_argument("fixtures", type=pathlib.Path), parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("tasks", nargs="*", default=sorted(TASKS))
    parser.add_argument("--docs", type=int), parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", default="float32"), parser.add_argument("--max-length", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    lm = HFLM(pretrained=args.model, device="cpu", dtype=args.dtype, batch_size=args.batch, max_length=args.max_length)
    spent = [0.0]
    answer = lm.loglikelihood

    def timed(requests, **more):
        start = time.process_time()
        found = answer(requests, **more)
        spent[0] += time.process_time() - start
        return found

    lm.loglikelihood = timed
    args.out.mkdir(parents=True, exist_ok=True)
    for word in args.tasks:
        name, _, shots = word.partition(":")
        spent[0] = 0.0
        found = lm_eval.evaluate(lm, {name: make_task(name, args.fixtures, int(shots or 0))}, limit=args.docs, bootstrap_iters=0,
                                 log_samples=True)
        samples = sorted(found["samples"][name], key=lambda s: s["doc_id"])
        with open(args.out / f"{name}.{shots or 0}.jsonl", "w") as file:
            for s in samples:
                lls = [r[0][0] if isinstance(r[0], (tuple, list)) else r[0] for r in s["filtered_resps"] and s["resps"]]
                file.write(json.dumps({"task": name, "doc": s["doc_id"], "ll": lls, "acc": s["acc"], **(
                    {"acc_norm": s["acc_norm"]} if "acc_norm" in s else {})}) + "\n")
        numbers = {k.split(",")[0]: v for k, v in found["results"][name].items() if k in ("acc,none", "acc_norm,none")}
        print(json.dumps({"task": name, "shots": int(shots or 0), "docs": len(samples), "batch": args.batch, "cpu_s": round(spent[0], 3),
                          **numbers}), flush=True)


if __name__ == "__main__":
    main()
