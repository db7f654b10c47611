/* Choosing cells by their labels, and comparing two of them part by part. */
#include "compare.h"

#include <math.h>
#include <string.h>

#include "base/guess.h"

static int64_t
find_reference(const ql_result_set *set, const char *key)
{
    for (int64_t i = 0; i < set->reference_count; i++)
        if (strcmp(set->references[i], key) == 0)
            return i;
    return -1;
}

static ql_status
check_key(ql_ctx *cx, const char *option, const char *key, const ql_result_set *sets, int64_t count)
{
    ql_guess near = ql_guess_open(key);
    ql_names names = {0};

    for (int64_t s = 0; s < count; s++) {
        if (find_reference(&sets[s], key) >= 0)
            return QL_OK;
        for (int64_t i = 0; i < sets[s].reference_count; i++)
            QL_TRY(cx, ql_names_add(cx, &names, sets[s].references[i]));
    }
    ql_guess_offer_all(&near, names.items, names.count);
    return QL_FAIL(cx, QL_INVALID, "%s: no run tells its cells apart by '%s'%s", option, key,
                   ql_guess_text(cx, &near, ""));
}

static ql_status
check_label(ql_ctx *cx, const char *option, const ql_choice *c, const ql_result_set *sets, int64_t count)
{
    const char *list = "";
    ql_names names = {0};

    for (int64_t s = 0; s < count; s++) {
        const int64_t r = find_reference(&sets[s], c->key);

        for (int64_t i = 0; i < sets[s].cell_count && r >= 0; i++) {
            const char *label = sets[s].cells[i].labels[r];

            if (!label || sets[s].cells[i].baseline)
                continue;
            if (strcmp(label, c->label) == 0)
                return QL_OK;
            QL_TRY(cx, ql_names_add(cx, &names, label));
        }
    }
    for (int64_t i = 0; i < names.count && list; i++)
        list = ql_format(cx, "%s%s%s", list, i ? ", " : "", names.items[i]);
    return list
               ? QL_FAIL(cx, QL_INVALID, "%s: no cell has '%s' as its %s; there are %s", option, c->label, c->key, list)
               : QL_MEMORY;
}

ql_status
ql_choice_parse(ql_ctx *cx, const char *option, const char *text, const ql_result_set *sets, int64_t count,
                ql_choice *out)
{
    const char *equal = strchr(text, '=');

    if (!equal || equal == text)
        return QL_FAIL(cx, QL_INVALID, "%s: got '%s', expected AXIS=LABEL, like quant.bits=3", option, text);
    out->key = ql_copy_text(cx, text, (size_t)(equal - text));
    out->label = ql_copy_text(cx, equal + 1, strlen(equal + 1));
    if (!out->key || !out->label)
        return QL_MEMORY;
    QL_TRY(cx, check_key(cx, option, out->key, sets, count));
    return check_label(cx, option, out, sets, count);
}

static bool
has_label(const ql_result_set *set, const ql_result_cell *c, const ql_choice *choice)
{
    const int64_t r = find_reference(set, choice->key);

    return r >= 0 && c->labels[r] && strcmp(c->labels[r], choice->label) == 0;
}

/* Of the choices on one reference any may hold, and those on every reference must. */
static bool
meets(const ql_result_set *set, const ql_result_cell *c, const ql_choice *choices, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        bool any = false;

        for (int64_t k = 0; k < count; k++)
            any = any || (strcmp(choices[k].key, choices[i].key) == 0 && has_label(set, c, &choices[k]));
        if (!any)
            return false;
    }
    return true;
}

ql_status
ql_results_filter(ql_ctx *cx, ql_result_set *set, const ql_choice *choices, int64_t count)
{
    int64_t *moved = ql_alloc(cx, (size_t)set->cell_count, sizeof *moved), kept = 0;

    if (!moved)
        return QL_MEMORY;
    for (int64_t i = 0; i < set->cell_count; i++) /* 1: stays */
        if (!set->cells[i].baseline && meets(set, &set->cells[i], choices, count)) {
            moved[i] = 1;
            if (set->cells[i].original >= 0)
                moved[set->cells[i].original] = 1;
        }
    for (int64_t i = 0; i < set->cell_count; i++) {
        if (moved[i])
            set->cells[kept] = set->cells[i];
        moved[i] = moved[i] ? kept++ : -1;
    }
    set->cell_count = kept;
    for (int64_t i = 0; i < kept; i++)
        if (set->cells[i].original >= 0)
            set->cells[i].original = moved[set->cells[i].original];
    return QL_OK;
}

/* Does a choice speak about an axis? "quant.use" and "quant.bits" do about variants of "quant". */
static bool
covered(const char *axis, const ql_choice *choices, int64_t count)
{
    const size_t n = strlen(axis);

    for (int64_t i = 0; i < count; i++)
        if (strncmp(choices[i].key, axis, n) == 0 && (choices[i].key[n] == '\0' || choices[i].key[n] == '.'))
            return true;
    return false;
}

int64_t
ql_results_reference(const ql_result_set *set, int64_t cell, const ql_choice *choices, int64_t count)
{
    const ql_result_cell *c = &set->cells[cell];

    if (count == 0 || c->baseline)
        return c->original;
    for (int64_t i = 0; i < set->cell_count; i++) {
        const ql_result_cell *r = &set->cells[i];
        bool same = !r->baseline && meets(set, r, choices, count);

        for (int64_t a = 0; a < set->axis_count && same; a++)
            same = covered(set->references[a], choices, count) ||
                   (r->labels[a] == c->labels[a] ||
                    (r->labels[a] && c->labels[a] && strcmp(r->labels[a], c->labels[a]) == 0));
        if (same)
            return i;
    }
    return -1;
}

static const char *
find_note(const ql_result_cell *c, const char *stage, const char *name)
{
    for (int64_t i = 0; i < c->note_count; i++)
        if (strcmp(c->notes[i].stage, stage) == 0 && strcmp(c->notes[i].name, name) == 0)
            return c->notes[i].value;
    return "";
}

/* Every note of `a` stands in `b`. */
static bool
notes_within(const ql_result_cell *a, const ql_result_cell *b, const char *stage)
{
    for (int64_t i = 0; i < a->note_count; i++)
        if (strcmp(a->notes[i].stage, stage) == 0 &&
            strcmp(find_note(b, stage, a->notes[i].name), a->notes[i].value) != 0)
            return false;
    return true;
}

bool
ql_results_same_notes(const ql_result_cell *a, const ql_result_cell *b, const char *stage)
{
    return notes_within(a, b, stage) && notes_within(b, a, stage);
}

/* Standard error of the mean of da a_i - db b_i; da and db: slope of the metric over the mean of its parts. */
static double
paired_error(const ql_result_list *a, const ql_result_list *b, double da, double db)
{
    double mean = 0, spread = 0;

    if (a->count != b->count || a->count < 2)
        return NAN;
    for (int64_t i = 0; i < a->count; i++) {
        const double x = da * a->values[i] - db * b->values[i], off = x - mean;

        mean += off / (double)(i + 1);
        spread += off * (x - mean);
    }
    return sqrt(spread / (double)(a->count - 1) / (double)a->count);
}

bool
ql_results_difference(const ql_result_set *set, int64_t cell, int64_t from, const char *metric, ql_difference *out)
{
    const ql_result_cell *a = &set->cells[cell], *b = from >= 0 ? &set->cells[from] : NULL;
    const ql_result_kind *kind = ql_results_kind_of(set, metric);
    const ql_result_list *parts, *others;
    double va, vb;

    if (!b || a->error || b->error || !ql_results_value(a, metric, &va) || !ql_results_value(b, metric, &vb))
        return false;
    *out = (ql_difference){.value = va - vb, .error = NAN};
    if (!kind || !kind->parts ||
        strcmp(find_note(a, kind->stage, QL_NOTE_DATA), find_note(b, kind->stage, QL_NOTE_DATA)) != 0)
        return true;
    parts = ql_results_find_list(a, kind->stage, NULL, kind->parts);
    others = ql_results_find_list(b, kind->stage, NULL, kind->parts);
    if (!parts || !others)
        return true;
    out->parts = parts->count;
    out->error = paired_error(parts, others, kind->exp ? va : 1, kind->exp ? vb : 1);
    return true;
}
