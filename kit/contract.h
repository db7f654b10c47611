/* The contract that every plugin keeps, as checks that run on one plugin: for `qloom check-plugin` and for our own tests. */
#ifndef QLOOM_KIT_CONTRACT_H
#define QLOOM_KIT_CONTRACT_H

#include "plugin/registry.h"

typedef enum ql_verdict { QL_PASSED, QL_FAILED, QL_SKIPPED } ql_verdict;

typedef struct ql_contract {
    /* Gets each check as it ends; `text` says what was checked, and what was found where it failed. */
    void (*line)(void *user, ql_verdict verdict, const char *text);
    void *user;
    int64_t count[3]; /* of each verdict */
} ql_contract;

/* Runs every check that fits the plugin's kind; methods work on tiny random layers on the context's device. Fails only when the checks
 * themselves can't go on. */
ql_status ql_contract_run(ql_ctx *cx, const ql_plugin *p, ql_contract *c);

/* --- between the files of the contract ---------------------------------------------------------------------------------- */

/* Counts and hands on one verdict; the context's error is forgotten. */
void ql_contract_report(ql_ctx *cx, ql_contract *c, ql_verdict verdict, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The part that runs quantizers, compensators and per-layer evaluators. */
ql_status ql_contract_run_method(ql_ctx *cx, const ql_plugin *p, ql_contract *c);

#endif
