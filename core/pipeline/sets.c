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
static void
put(ql_build *b, ql_yaml *map, const char *key, const ql_yaml *value)
{
    ql_yaml *name = ql_build_scalar(b, value->place, key), *copy = ql_build_scalar(b, value->place, "");

    if (!name || !copy)
        return;
    *copy = *value;
    name->set = true;
    ql_build_put(b, map, name, copy);
}

/* An axis over `key` shrinks to the value, or to the values of a list. */
static void
put_axis(ql_build *b, ql_yaml *axis, ql_yaml *value)
{
    *axis = value->kind == QL_YAML_LIST ? *value : (ql_yaml){.kind = QL_YAML_LIST, .place = value->place, .set = true};
    if (value->kind != QL_YAML_LIST)
        ql_build_put(b, axis, NULL, value);
}

static void
set_top(ql_build *b, const char *key, ql_yaml *value)
{
    ql_yaml *axis = ql_yaml_get(ql_yaml_get(b->root, "matrix"), key);

    if (axis && strcmp(key, "seed") == 0)
        put_axis(b, axis, value);
    else if (ql_is_file_key(key))
        put(b, b->root, key, value);
    else
        ql_wrong(b, value->place, "expected KEY=VALUE or STAGE.PARAMETER=VALUE; the file has no key '%s'", key);
}

/* `path` is the stage, a dot, and the key. */
static void
set_stage(ql_build *b, const char *path, const char *key, ql_yaml *value)
{
    const char *stage = ql_build_text(b, ql_copy_text(b->cx, path, strcspn(path, ".")));
    ql_yaml *entry = ql_yaml_get(ql_yaml_get(b->root, "stages"), stage), *matrix = ql_yaml_get(b->root, "matrix");
    ql_yaml *variants = ql_yaml_get(matrix, stage), *axis = ql_yaml_get(matrix, path);

    if (!entry || entry->kind != QL_YAML_MAP) {
        ql_wrong(b, value->place, "there is no stage '%s'", stage);
    } else if (variants && strcmp(key, "use") == 0) {
        ql_wrong(b, value->place, "the matrix varies 'use' of stage '%s'", stage);
    } else if (axis) {
        put_axis(b, axis, value);
    } else {
        put(b, entry, key, value);
        for (int64_t i = 0; variants && i < variants->count; i++)
            if (ql_yaml_find(variants->items[i], key) >= 0)
                put(b, variants->items[i], key, value);
    }
}

static ql_status
set_one(ql_build *b, const char *argument)
{
    const char *equals = strchr(argument, '='), *where = ql_format(b->cx, "-s %s", argument), *key, *dot;
    const int64_t before = b->problems.count;
    ql_yaml *value;

    if (!where)
        return QL_MEMORY;
    if (!equals || equals == argument) {
        ql_wrong(b, (ql_place){.file = where}, "expected KEY=VALUE or STAGE.PARAMETER=VALUE");
        return b->problems.failed;
    }
    QL_TRY(b->cx, ql_yaml_parse(b->cx, &b->problems, where, equals + 1, strlen(equals + 1), &value));
    for (int64_t i = before; i < b->problems.count; i++) /* lines mean nothing on the command line */
        b->problems.items[i].place.line = 0;
    if (b->problems.count > before)
        return QL_OK;
    if (!value)
        value = ql_build_scalar(b, (ql_place){.file = where}, "");
    key = ql_copy_text(b->cx, argument, (size_t)(equals - argument));
    if (!key || !value)
        return QL_MEMORY;
    mark_set(value, where);
    dot = strchr(key, '.');
    if (dot)
        set_stage(b, key, dot + 1, value);
    else
        set_top(b, key, value);
    return b->problems.failed;
}

bool
ql_build_sets(ql_build *b, const char *const *sets)
{
    for (; sets && *sets && b->problems.failed == QL_OK; sets++)
        b->problems.failed = set_one(b, *sets);
    return b->problems.failed == QL_OK;
}
