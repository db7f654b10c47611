/* UTF-8, and the characters that tokenizers tell apart: white space, and what words are made of. */
#ifndef QLOOM_TEXT_UNICODE_H
#define QLOOM_TEXT_UNICODE_H

#include <qloom/tokenizer.h>

/* The character at `s`, which begins valid UTF-8, and its length. */
static inline uint32_t
ql_utf8_char(const unsigned char *s, size_t *bytes)
{
    if (s[0] < 0x80) {
        *bytes = 1;
        return s[0];
    }
    if (s[0] < 0xe0) {
        *bytes = 2;
        return (uint32_t)(s[0] & 0x1f) << 6 | (s[1] & 0x3f);
    }
    if (s[0] < 0xf0) {
        *bytes = 3;
        return (uint32_t)(s[0] & 0x0f) << 12 | (uint32_t)(s[1] & 0x3f) << 6 | (s[2] & 0x3f);
    }
    *bytes = 4;
    return (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3f) << 12 | (uint32_t)(s[2] & 0x3f) << 6 | (s[3] & 0x3f);
}

/* Begin of the character that ends before `end` > 0. */
static inline size_t
ql_utf8_back(const char *s, size_t end)
{
    do
        end--;
    while (end > 0 && ((unsigned char)s[end] & 0xc0) == 0x80);
    return end;
}

size_t ql_utf8_put(uint32_t c, char out[4]); /* bytes written */

bool ql_char_is_space(uint32_t c); /* White_Space */

/* What Python's str takes for white space: that, and four separators. */
static inline bool
ql_char_is_python_space(uint32_t c)
{
    return ql_char_is_space(c) || (c >= 0x1c && c <= 0x1f);
}

bool ql_char_is_word(uint32_t c); /* \w: Alphabetic, marks, decimal digits, connectors, joiners */

/* End of the white space that begins at `at`, and begin of that which ends before the end of `text`, not before
 * `floor`. */
size_t ql_space_after(const char *text, size_t bytes, size_t at);
size_t ql_space_before(const char *text, size_t bytes, size_t floor);

/* The byte-level alphabet: every byte has a printable character, and 188 of them are their own. */
uint32_t ql_byte_char(unsigned byte);
int ql_byte_of_char(uint32_t c); /* -1: outside the alphabet */

#endif
