/* A comparison table: runs laid out by rows, columns and a value, then rendered in one of four formats. */
#ifndef QLOOM_REPORT_TABLE_H
#define QLOOM_REPORT_TABLE_H

#include <stdio.h>

#include "book.h"

typedef enum ql_table_format { QL_TABLE_MARKDOWN, QL_TABLE_CSV, QL_TABLE_LATEX, QL_TABLE_JSON } ql_table_format;

typedef struct ql_notes { /* numbers of footnotes, from 1, rising */
    int64_t count, room;
    int64_t *items;
} ql_notes;

typedef struct ql_table_label {
    const char *text;
    ql_notes notes;
} ql_table_label;

typedef struct ql_table_entry {
    int64_t count;   /* numbers behind it: seeds; 0: none */
    double mean, sd; /* sd: sample standard deviation, when count > 1; else of a difference its paired standard error */
    bool failed;     /* no number because the cell failed */
    bool spread;     /* sd is there */
    bool interval;   /* of a difference, low and high are there */
    double low, high;
    bool best;
    ql_notes notes;
} ql_table_entry;

typedef struct ql_table {
    int64_t key_count, row_count, column_count, baseline_count;
    const char *const *keys;     /* [key_count]: what the label columns are called */
    ql_table_label *rows;        /* [row_count * key_count]; the first baseline_count rows are original models */
    ql_table_label *columns;     /* [column_count] */
    ql_table_entry *entries;     /* [row_count * column_count] */
    const char *value;           /* what the numbers are, where no column says it; else NULL */
    bool differences;            /* they are, so they have a sign */
    ql_names footnotes, remarks; /* remarks hold for the whole table */
} ql_table;

/* Lays out the runs by `spec`; what it leaves out is chosen: rows: every axis (and the run, when there are several), value: every metric
 * a column. Differences are those of the pairs that ql_book_compare made. INVALID for a reference or metric that no run has, and when cells
 * that differ in more than the seed would meet in one place. Everything in the innermost scope. */
ql_status ql_table_make(ql_book *b, const ql_table_spec *spec, ql_table *out);

/* Writes the runs in `format`, by `spec` (JSON has no layout: one object a cell). [one thread per context] */
ql_status ql_table_write(ql_book *b, const ql_table_spec *spec, ql_table_format format, FILE *out);

/* "md", "csv", "tex", "json"; INVALID lists them. */
ql_status ql_table_format_parse(ql_ctx *cx, const char *word, ql_table_format *out);

#endif
