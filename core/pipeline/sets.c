/* `-s KEY=VALUE`: values of the command line put into the tree, before anything looks at it. */
#include <string.h>

#include "build.h"

static void
mark_set(ql_yaml *v, const char *argument)
{
    v->place = (ql_place){.file = argument};
    v->set = true;
    for (int64_t i = 0; i < v->count; i++) {
        if (v->keys[i])
            mark_set(v->keys[i], argument);
        mark_set(v->items[i], argument);
    }
}

/* key: value, with `value` copied, because matrix and entry may both get it. */
static ql_status
put(ql_build *b, ql_yaml *map, const char *key, const ql_yaml *value)
{
    ql_yaml *copy = ql_alloc(b->cx, 1, sizeof *copy), *name = ql_yaml_scalar(b->cx, value->place, key);
    const int64_t i = ql_yaml_find(map, key);

    if (!copy || !name)
        return QL_MEMORY;
    *copy = *value;
    name->set = true;
    if (i < 0)
        return ql_yaml_append(b->cx, map, name, copy);
    map->keys[i] = name;
    map->items[i] = copy;
    return QL_OK;
}

/* An axis over `key` shrinks to the value, or to the values of a list. */
static ql_status
put_axis(ql_build *b, ql_yaml *axis, ql_yaml *value)
{
    if (value->kind == QL_YAML_LIST) {
        *axis = *value;
        return QL_OK;
    }
    *axis = (ql_yaml){.kind = QL_YAML_LIST, .place = value->place, .set = true};
    return ql_yaml_append(b->cx, axis, NULL, value);
}

static ql_status
set_top(ql_build *b, const char *key, ql_yaml *value)
{
    ql_yaml *axis = ql_yaml_get(ql_yaml_get(b->root, "matrix"), key);

    if (axis && strcmp(key, "seed") == 0)
        return put_axis(b, axis, value);
    if (ql_is_file_key(key))
        return put(b, b->root, key, value);
    ql_wrong(b, value->place, "expected KEY=VALUE or STAGE.PARAMETER=VALUE; the file has no key '%s'", key);
    return QL_OK;
}

static ql_status
set_stage(ql_build *b, const char *path, const char *stage, const char *key, ql_yaml *value)
{
    ql_yaml *entry = ql_yaml_get(ql_yaml_get(b->root, "stages"), stage), *matrix = ql_yaml_get(b->root, "matrix");
    ql_yaml *variants = ql_yaml_get(matrix, stage), *axis = ql_yaml_get(matrix, path);

    if (!entry || entry->kind != QL_YAML_MAP) {
        ql_wrong(b, value->place, "there is no stage '%s'", stage);
        return QL_OK;
    }
    if (variants && strcmp(key, "use") == 0) {
        ql_wrong(b, value->place, "the matrix varies 'use' of stage '%s'", stage);
        return QL_OK;
    }
    if (axis)
        return put_axis(b, axis, value);
    QL_TRY(b->cx, put(b, entry, key, value));
    for (int64_t i = 0; variants && i < variants->count; i++)
        if (ql_yaml_find(variants->items[i], key) >= 0)
            QL_TRY(b->cx, put(b, variants->items[i], key, value));
    return QL_OK;
}

static ql_status
set_one(ql_build *b, const char *argument)
{
    const char *equals = strchr(argument, '='), *where = ql_format(b->cx, "-s %s", argument), *key, *stage;
    const int64_t before = b->problems.count;
    ql_yaml *value;

    if (!where)
        return QL_MEMORY;
    if (!equals || equals == argument) {
        ql_wrong(b, (ql_place){.file = where}, "expected KEY=VALUE or STAGE.PARAMETER=VALUE");
        return QL_OK;
    }
    QL_TRY(b->cx, ql_yaml_parse(b->cx, &b->problems, where, equals + 1, strlen(equals + 1), &value));
    for (int64_t i = before; i < b->problems.count; i++) /* lines mean nothing on the command line */
        b->problems.items[i].place.line = 0;
    if (b->problems.count > before)
        return QL_OK;
    if (!value)
        value = ql_yaml_scalar(b->cx, (ql_place){.file = where}, "");
    key = ql_copy_text(b->cx, argument, (size_t)(equals - argument));
    stage = key ? ql_copy_text(b->cx, key, strcspn(key, ".")) : NULL;
    if (!stage || !value)
        return QL_MEMORY;
    mark_set(value, where);
    return strchr(key, '.') ? set_stage(b, key, stage, strchr(key, '.') + 1, value) : set_top(b, key, value);
}

bool
ql_build_sets(ql_build *b, const char *const *sets)
{
    for (; sets && *sets && b->problems.failed == QL_OK; sets++)
        b->problems.failed = set_one(b, *sets);
    return b->problems.failed == QL_OK;
}
