/* Texts for files, terminals and shells: numbers, words, and what strangers wrote made harmless. */
#ifndef QLOOM_BASE_TEXT_H
#define QLOOM_BASE_TEXT_H

#include <fenv.h>
#include <locale.h>
#include <stddef.h>
#include <stdint.h>

#define QL_NUMBER_SIZE 32

/* Between the two the thread writes and reads numbers with a decimal point, says errors in English, and rounds as numbers usually are, to
 * nearest and with subnormal ones, whatever the program that embeds the library has set for it; other threads don't notice. */
typedef struct ql_locale {
    locale_t plain, before; /* plain 0: there was no memory, and the locale is not changed */
    fenv_t arithmetic;      /* before */
} ql_locale;
ql_locale ql_locale_enter(void);
void ql_locale_leave(ql_locale l);

/* strtod with a decimal point in every locale. */
double ql_to_double(const char *text, char **end);

/* The shortest decimal that reads back as the same double: "0.1", "1e+300", "3", "nan", "-inf". */
void ql_number(double value, char text[QL_NUMBER_SIZE]);

/* Where byte `at` of a text stands: line and column from 1, columns in characters. */
void ql_text_place(const char *text, size_t at, int64_t *line, int64_t *column);

/* `text` with control characters, those that change the direction of writing, and bytes that are no UTF-8 shown as escapes ("\x1b",
 * "\u202e"); `line_end` replaces each end of a line. Cut where `size` ends. [any thread] */
void ql_visible(const char *text, const char *line_end, char *out, size_t size);

#endif
