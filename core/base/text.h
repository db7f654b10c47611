/* Texts for files, terminals and shells: numbers, words, and what strangers wrote made harmless. */
#ifndef QLOOM_BASE_TEXT_H
#define QLOOM_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define QL_NUMBER_SIZE 32

/* The shortest decimal that reads back as the same double: "0.1", "1e+300", "3", "nan", "-inf". */
void ql_number(double value, char text[QL_NUMBER_SIZE]);

/* Where byte `at` of a text stands: line and column from 1, columns in characters. */
void ql_text_place(const char *text, size_t at, int64_t *line, int64_t *column);

/* `text` with control characters, those that change the direction of writing, and bytes that are no UTF-8 shown as escapes ("\x1b",
 * "\u202e"); `line_end` replaces each end of a line. Cut where `size` ends. [any thread] */
void ql_visible(const char *text, const char *line_end, char *out, size_t size);

#endif
