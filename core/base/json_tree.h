/* A value of a JSON tree, for the files that make trees and look into them. */
#ifndef QLOOM_BASE_JSON_TREE_H
#define QLOOM_BASE_JSON_TREE_H

#include "json.h"

typedef enum json_kind { KIND_NULL, KIND_BOOL, KIND_INT, KIND_REAL, KIND_STRING, KIND_ARRAY, KIND_OBJECT } json_kind;

struct ql_json {
    json_kind kind;
    const ql_json *up; /* NULL: the root */
    const char *name;  /* key in the object above; the file at the root; NULL in an array */
    int64_t count;     /* items, members, bytes of a string */
    union {
        bool boolean;
        int64_t integer;
        double real;
        const char *text;
        struct {
            ql_json *items;
            const ql_json **sorted; /* of an object: the members by key */
        };
    };
};

/* For qsort and bsearch over pointers to members. */
int ql_json_by_name(const void *a, const void *b);

#endif
