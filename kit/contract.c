/* The contract of every plugin, first part: tables that document themselves, defaults that fit, names that mean what they mean
 * elsewhere. */
#include "contract.h"

#include <stdio.h>
#include <string.h>

#include <qloom/evaluator.h>

void
ql_contract_report(ql_ctx *cx, ql_contract *c, ql_verdict verdict, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->count[verdict]++;
    c->line(c->user, verdict, text);
    ql_error_clear(cx);
}

static bool
has_text(const char *text)
{
    return text && *text && !strchr(text, '\n');
}

/* What is wrong with a row beyond what loading it has checked; NULL: nothing. */
static const char *
row_problem(ql_ctx *cx, const ql_param *row)
{
    const bool number = row->type == QL_T_INT || row->type == QL_T_REAL;

    if (!has_text(row->help))
        return ql_format(cx, "parameter '%s' has no help in one line", row->name);
    if (number && !(row->min < row->max))
        return ql_format(cx, "parameter '%s' has the empty range %g to %g", row->name, row->min, row->max);
    if (number && !row->required && !(row->def >= row->min && row->def <= row->max))
        return ql_format(cx, "parameter '%s': the default %g is not in its range, %g to %g", row->name, row->def,
                         row->min, row->max);
    if (row->type == QL_T_INT && row->def != (double)(int)row->def)
        return ql_format(cx, "parameter '%s': the default %g is no whole number", row->name, row->def);
    return NULL;
}

static const char *
port_problem(ql_ctx *cx, const ql_plugin *p, const ql_port *port)
{
    if (!has_text(port->name) || !has_text(port->help))
        return ql_format(cx, "port %d has no name or no help in one line", (int)(port - p->ports));
    if (ql_param_find(p, port->name))
        return ql_format(cx, "'%s' is a parameter and a port", port->name);
    for (const ql_port *kind = ql_kind_of(p->kind)->ports; kind->type != QL_EDGE_NONE; kind++)
        if (kind->output == port->output && strcmp(kind->name, port->name) == 0)
            return ql_format(cx, "the port '%s' is one of its kind's already", port->name);
    return NULL;
}

static void
check_table(ql_ctx *cx, const ql_plugin *p, ql_contract *c)
{
    const char *problem =
        has_text(p->help) && has_text(p->version) ? NULL : "the plugin has no help or no version in one line";
    int rows = 0;

    for (const ql_param *row = p->params; row->type != QL_T_END && !problem; row++, rows++)
        problem = row_problem(cx, row);
    for (const ql_port *port = p->ports; port && port->type != QL_EDGE_NONE && !problem; port++)
        problem = port_problem(cx, p, port);
    if (problem)
        ql_contract_report(cx, c, QL_FAILED, "tables: %s", problem);
    else
        ql_contract_report(cx, c, QL_PASSED, "tables: %d parameters with help, and with defaults in range", rows);
}

static bool
same_words(const char *const *a, const char *const *b)
{
    for (; a && b && *a && *b; a++, b++)
        if (strcmp(*a, *b) != 0)
            return false;
    return (a && *a) == (b && *b);
}

/* Swapping one `use:` is an ablation only if what stays the same in the file means the same. */
static void
check_shared(ql_ctx *cx, const ql_plugin *p, ql_contract *c)
{
    int shared = 0;

    for (const ql_param *row = p->params; row->type != QL_T_END; row++) {
        const ql_param *kind = ql_shared_row(p->kind, row->name);
        char allowed[512], expected[512];

        if (!kind)
            continue;
        shared++;
        if (row->type == kind->type && row->min == kind->min && row->max == kind->max &&
            same_words(row->values, kind->values) && strcmp(row->help ? row->help : "", kind->help) == 0)
            continue;
        ql_param_allowed(row, allowed, sizeof allowed);
        ql_param_allowed(kind, expected, sizeof expected);
        ql_contract_report(
            cx, c, QL_FAILED,
            "shared names: '%s' is %s (%s), in every other %s it is %s (%s): use the row of the kind's header, or "
            "another name",
            row->name, allowed, row->help, ql_kind_name(p->kind), expected, kind->help);
        return;
    }
    ql_contract_report(cx, c, QL_PASSED, "shared names: %d parameters mean what they mean in every %s", shared,
                       ql_kind_name(p->kind));
}

static ql_status
check_defaults(ql_ctx *cx, const ql_plugin *p, ql_contract *c)
{
    void *self = ql_alloc(cx, 1, p->self_size);

    if (!self)
        return QL_MEMORY;
    ql_param_defaults(p, self);
    if (p->check && ql_param_any_required(p)) /* a host never calls check() before they are given */
        ql_contract_report(cx, c, QL_SKIPPED, "defaults: some parameters are required");
    else if (p->check && p->check(cx, self) != QL_OK)
        ql_contract_report(cx, c, QL_FAILED, "defaults: refused by check(): %s", ql_error(cx));
    else
        ql_contract_report(cx, c, QL_PASSED, "defaults: fit together");
    return QL_OK;
}

/* Why a plugin can't run alone; NULL: it can. */
static const char *
runs_in_walk_only(const ql_plugin *p)
{
    for (const ql_port *port = p->ports; port && port->type != QL_EDGE_NONE; port++)
        if (port->type == QL_EDGE_QUANTIZER && !port->output)
            return "drives another quantizer, which is there in a pipeline only";
    if (ql_param_any_required(p))
        return "has required parameters, which a pipeline gives";
    if (p->kind == QL_COMPENSATOR)
        return !p->compensator->compensate ? "is the identity"
               : p->compensator->couples   ? "drives a quantizer, which is there in a pipeline only"
                                           : NULL;
    if (p->kind == QL_EVALUATOR)
        return p->evaluator->linear ? NULL : "works on the stream of a whole model";
    if (p->kind == QL_TRAINER)
        return "trains a whole model";
    if (p->kind == QL_QUANTIZER)
        return p->quantizer->yields & QL_KEEPS_WEIGHT ? "is the identity" : NULL;
    return "needs files or a device of its own";
}

ql_status
ql_contract_run(ql_ctx *cx, const ql_plugin *p, ql_contract *c)
{
    const char *reason = runs_in_walk_only(p);
    ql_scope scope;
    ql_status st;

    ql_scope_open(cx, &scope);
    check_table(cx, p, c);
    check_shared(cx, p, c);
    st = check_defaults(cx, p, c);
    if (st == QL_OK && c->count[QL_FAILED] == 0 && reason)
        ql_contract_report(cx, c, QL_SKIPPED, "runs: the plugin %s", reason);
    else if (st == QL_OK && c->count[QL_FAILED] == 0) /* what the tables say wrongly would come back as wrong results */
        st = ql_contract_run_method(cx, p, c);
    ql_scope_close(cx, &scope);
    return st;
}
